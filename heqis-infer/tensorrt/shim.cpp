// A plain C interface over TensorRT, for src/tensorrt/shim.rs.
//
// TensorRT's own interface is C++ and changes with each major version, so this file is compiled on the board against the
// headers that the board has (build.sh), and loads libnvinfer itself: neither is linked into a program. TensorRT 8 is
// driven by bindings and enqueueV2, TensorRT 10 and later by tensor names and enqueueV3.
#include <NvInferRuntime.h>

#include <dlfcn.h>

#include <cstdint>
#include <cstdio>
#include <cstring>
#include <mutex>
#include <new>

#define EXPORT extern "C" __attribute__((visibility("default")))

namespace {

// Incremented with every change of a function or structure below.
constexpr int ABI = 1;

// Keeps the last error that TensorRT reports: its calls return no reason.
class Logger : public nvinfer1::ILogger {
  public:
    void log(Severity severity, char const *message) noexcept override {
        if (severity > Severity::kERROR) return;
        std::lock_guard<std::mutex> guard(lock);
        std::snprintf(last, sizeof last, "%s", message);
    }

    // Appends the last error to `what`, and clears it.
    void report(char const *what, char *words, size_t size) {
        std::lock_guard<std::mutex> guard(lock);
        std::snprintf(words, size, last[0] ? "%s: %s" : "%s", what, last);
        last[0] = 0;
    }

  private:
    std::mutex lock;
    char last[512] = "";
};

// TensorRT returns a small number in place of a runtime when CUDA is missing.
bool sound(void const *pointer) { return reinterpret_cast<std::uintptr_t>(pointer) >= 4096; }

} // namespace

struct heqis_tensorrt {
    void *library = nullptr;
    int version = 0;
    Logger logger;
    nvinfer1::IRuntime *runtime = nullptr;
    nvinfer1::ICudaEngine *engine = nullptr;
    nvinfer1::IExecutionContext *context = nullptr;

    ~heqis_tensorrt() {
        delete context;
        delete engine;
        delete runtime;
        if (library) dlclose(library);
    }
};

struct heqis_tensorrt_tensor {
    char name[256];
    std::int32_t is_input;
    std::int32_t type; // TensorRT's DataType
    std::int32_t rank;
    std::int64_t dims[8];
};

EXPORT int heqis_tensorrt_abi() { return ABI; }

// Loads libnvinfer and creates a runtime; null and a message on failure.
EXPORT heqis_tensorrt *heqis_tensorrt_open(char const *path, char *words, size_t size) {
    auto *self = new (std::nothrow) heqis_tensorrt;
    auto fail = [&](char const *what) -> heqis_tensorrt * {
        if (self) self->logger.report(what, words, size);
        delete self;
        return nullptr;
    };
    if (!self) return fail("no memory");
    self->library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!self->library) return fail(dlerror());
    auto version = reinterpret_cast<int (*)()>(dlsym(self->library, "getInferLibVersion"));
    auto create = reinterpret_cast<void *(*)(void *, std::int32_t)>(dlsym(self->library, "createInferRuntime_INTERNAL"));
    if (!version || !create) return fail(version ? "no createInferRuntime_INTERNAL" : "no getInferLibVersion");
    self->version = version();
    // Four digits until 9, six since 10.
    int major = self->version / (self->version < 100000 ? 1000 : 10000);
    if (major != NV_TENSORRT_MAJOR) {
        char text[96];
        std::snprintf(text, sizeof text, "the library is TensorRT %d, the shim was built for %d", major, NV_TENSORRT_MAJOR);
        return fail(text);
    }
    // The library compares the version with its own, and within a major the interface only grows.
    void *runtime = create(&self->logger, self->version);
    if (!sound(runtime)) return fail("no runtime");
    self->runtime = static_cast<nvinfer1::IRuntime *>(runtime);
    return self;
}

EXPORT int heqis_tensorrt_version(heqis_tensorrt const *self) { return self->version; }

// Reads a serialised engine; 0, or −1 and a message.
EXPORT int heqis_tensorrt_load(heqis_tensorrt *self, void const *blob, size_t length, char *words, size_t size) {
    auto *engine = self->runtime->deserializeCudaEngine(blob, length);
    if (!sound(engine)) return self->logger.report("the engine does not load", words, size), -1;
    self->engine = engine;
    auto *context = self->engine->createExecutionContext();
    if (!sound(context)) return self->logger.report("no execution context", words, size), -1;
    self->context = context;
    return 0;
}

EXPORT int heqis_tensorrt_io_count(heqis_tensorrt const *self) {
#if NV_TENSORRT_MAJOR >= 10
    return self->engine->getNbIOTensors();
#else
    return self->engine->getNbBindings();
#endif
}

// Describes one tensor; 0, or −1 when the index is out of range or the name is too long.
EXPORT int heqis_tensorrt_io(heqis_tensorrt const *self, int index, heqis_tensorrt_tensor *tensor) {
    if (index < 0 || index >= heqis_tensorrt_io_count(self)) return -1;
#if NV_TENSORRT_MAJOR >= 10
    char const *name = self->engine->getIOTensorName(index);
    tensor->is_input = self->engine->getTensorIOMode(name) == nvinfer1::TensorIOMode::kINPUT;
    tensor->type = static_cast<std::int32_t>(self->engine->getTensorDataType(name));
    auto dims = self->engine->getTensorShape(name);
#else
    char const *name = self->engine->getBindingName(index);
    tensor->is_input = self->engine->bindingIsInput(index);
    tensor->type = static_cast<std::int32_t>(self->engine->getBindingDataType(index));
    auto dims = self->engine->getBindingDimensions(index);
#endif
    if (!name || std::strlen(name) >= sizeof tensor->name || dims.nbDims < 0 || dims.nbDims > 8) return -1;
    std::strcpy(tensor->name, name);
    tensor->rank = dims.nbDims;
    for (int axis = 0; axis < dims.nbDims; axis++) tensor->dims[axis] = dims.d[axis];
    return 0;
}

// Starts the computation on a stream, with a device pointer for each tensor; 0, or −1 and a message.
EXPORT int heqis_tensorrt_enqueue(heqis_tensorrt *self, void *const *pointers, void *stream, char *words, size_t size) {
    auto *queue = static_cast<cudaStream_t>(stream);
#if NV_TENSORRT_MAJOR >= 10
    bool ok = true;
    for (int i = 0; ok && i < self->engine->getNbIOTensors(); i++)
        ok = self->context->setTensorAddress(self->engine->getIOTensorName(i), pointers[i]);
    ok = ok && self->context->enqueueV3(queue);
#else
    bool ok = self->context->enqueueV2(pointers, queue, nullptr);
#endif
    if (!ok) return self->logger.report("enqueue failed", words, size), -1;
    return 0;
}

EXPORT void heqis_tensorrt_close(heqis_tensorrt *self) { delete self; }
