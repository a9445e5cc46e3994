/* A stand-in for TensorRT's interface: the names that the shim uses, of our own layout, for the stand-in library.
 * Only ILogger is laid out as NVIDIA's, since the real library may be given one before it finds that there is no GPU. */
#pragma once
#include <cstddef>
#include <cstdint>

typedef struct CUstream_st *cudaStream_t;

namespace nvinfer1 {

enum class DataType : std::int32_t { kFLOAT = 0, kHALF = 1, kINT8 = 2, kINT32 = 3 };
enum class TensorIOMode : std::int32_t { kNONE = 0, kINPUT = 1, kOUTPUT = 2 };

struct Dims {
    std::int32_t nbDims;
#if NV_TENSORRT_MAJOR >= 10
    std::int64_t d[8];
#else
    std::int32_t d[8];
#endif
};

class ILogger {
  public:
    enum class Severity : std::int32_t { kINTERNAL_ERROR = 0, kERROR = 1, kWARNING = 2, kINFO = 3, kVERBOSE = 4 };
    virtual void log(Severity severity, char const *message) noexcept = 0;
    virtual ~ILogger() = default;
};

class IExecutionContext {
  public:
    virtual ~IExecutionContext() = default;
#if NV_TENSORRT_MAJOR >= 10
    virtual bool setTensorAddress(char const *name, void *address) noexcept = 0;
    virtual bool enqueueV3(cudaStream_t stream) noexcept = 0;
#else
    virtual bool enqueueV2(void *const *bindings, cudaStream_t stream, void **consumed) noexcept = 0;
#endif
};

class ICudaEngine {
  public:
    virtual ~ICudaEngine() = default;
    virtual IExecutionContext *createExecutionContext() noexcept = 0;
#if NV_TENSORRT_MAJOR >= 10
    virtual std::int32_t getNbIOTensors() const noexcept = 0;
    virtual char const *getIOTensorName(std::int32_t index) const noexcept = 0;
    virtual TensorIOMode getTensorIOMode(char const *name) const noexcept = 0;
    virtual DataType getTensorDataType(char const *name) const noexcept = 0;
    virtual Dims getTensorShape(char const *name) const noexcept = 0;
#else
    virtual std::int32_t getNbBindings() const noexcept = 0;
    virtual char const *getBindingName(std::int32_t index) const noexcept = 0;
    virtual bool bindingIsInput(std::int32_t index) const noexcept = 0;
    virtual DataType getBindingDataType(std::int32_t index) const noexcept = 0;
    virtual Dims getBindingDimensions(std::int32_t index) const noexcept = 0;
#endif
};

class IRuntime {
  public:
    virtual ~IRuntime() = default;
    virtual ICudaEngine *deserializeCudaEngine(void const *blob, std::size_t size) noexcept = 0;
};

} // namespace nvinfer1
