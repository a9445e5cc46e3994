// A stand-in for TensorRT, on the CPU and of no speed. An "engine" is a text of lines:
//
//   STANDIN VERSION                       the version that it was built with
//   tensor in|out NAME TYPE RANK D..
//   fail context|enqueue                  the call fails
//   fail_run N                            the Nth run fails
//
// It computes out[k] = k + sum over all inputs and elements of (j + 1) * in[j]. BOGUS makes the runtime a small number, as
// NVIDIA's library does without a GPU; VERSION is the version that the library reports.
#if MAJOR == 8
#include "nvinfer/8/NvInferRuntime.h"
#else
#include "nvinfer/10/NvInferRuntime.h"
#endif
#include "stream.h"
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

using namespace nvinfer1;

namespace {

long live;

struct Tensor {
    char name[64];
    bool input;
    int type;
    Dims dims;
    long size;
};

struct Model {
    std::vector<Tensor> tensors;
    std::string fail;
    int fail_run = 0;

    Tensor const *find(char const *name) const {
        for (auto &tensor : tensors)
            if (!std::strcmp(tensor.name, name)) return &tensor;
        return nullptr;
    }
};

struct Context : IExecutionContext {
    ILogger &logger;
    Model const &model;
    std::vector<char *> memory;
    int runs = 0;

    Context(ILogger &logger, Model const &model) : logger(logger), model(model), memory(model.tensors.size()) { live++; }
    ~Context() override { live--; }

    static void compute(void *self) { static_cast<Context *>(self)->compute(); }

    void compute() {
        float sum = 0;
        for (size_t i = 0; i < memory.size(); i++)
            for (long j = 0; model.tensors[i].input && j < model.tensors[i].size; j++) {
                char *at = memory[i] + 4 * j;
                sum += float(j + 1) * (model.tensors[i].type == 3 ? float(*(std::int32_t *)at) : *(float *)at);
            }
        for (size_t i = 0; i < memory.size(); i++)
            for (long k = 0; !model.tensors[i].input && k < model.tensors[i].size; k++)
                ((float *)memory[i])[k] = sum + float(k);
    }

    bool enqueue(cudaStream_t stream) {
        runs++;
        if (model.fail == "enqueue" || runs == model.fail_run) {
            logger.log(ILogger::Severity::kERROR, "stand-in: an illegal instruction was encountered");
            return false;
        }
        stream->job = compute;
        stream->argument = this;
        return true;
    }

    void bind(size_t index, void *address) { memory[index] = (char *)address - DEVICE_OFFSET; }

#if NV_TENSORRT_MAJOR >= 10
    bool setTensorAddress(char const *name, void *address) noexcept override {
        auto *tensor = model.find(name);
        if (tensor) bind(tensor - model.tensors.data(), address);
        return tensor;
    }
    bool enqueueV3(cudaStream_t stream) noexcept override { return enqueue(stream); }
#else
    bool enqueueV2(void *const *bindings, cudaStream_t stream, void **consumed) noexcept override {
        if (consumed) return false;
        for (size_t i = 0; i < memory.size(); i++) bind(i, bindings[i]);
        return enqueue(stream);
    }
#endif
};

struct Engine : ICudaEngine {
    ILogger &logger;
    Model model;

    explicit Engine(ILogger &logger) : logger(logger) { live++; }
    ~Engine() override { live--; }

    IExecutionContext *createExecutionContext() noexcept override {
        if (model.fail == "context") return nullptr;
        return new Context(logger, model);
    }
#if NV_TENSORRT_MAJOR >= 10
    std::int32_t getNbIOTensors() const noexcept override { return model.tensors.size(); }
    char const *getIOTensorName(std::int32_t index) const noexcept override { return model.tensors[index].name; }
    TensorIOMode getTensorIOMode(char const *name) const noexcept override {
        return model.find(name)->input ? TensorIOMode::kINPUT : TensorIOMode::kOUTPUT;
    }
    DataType getTensorDataType(char const *name) const noexcept override { return DataType(model.find(name)->type); }
    Dims getTensorShape(char const *name) const noexcept override { return model.find(name)->dims; }
#else
    std::int32_t getNbBindings() const noexcept override { return model.tensors.size(); }
    char const *getBindingName(std::int32_t index) const noexcept override { return model.tensors[index].name; }
    bool bindingIsInput(std::int32_t index) const noexcept override { return model.tensors[index].input; }
    DataType getBindingDataType(std::int32_t index) const noexcept override { return DataType(model.tensors[index].type); }
    Dims getBindingDimensions(std::int32_t index) const noexcept override { return model.tensors[index].dims; }
#endif
};

struct Runtime : IRuntime {
    ILogger &logger;

    explicit Runtime(ILogger &logger) : logger(logger) { live++; }
    ~Runtime() override { live--; }

    ICudaEngine *deserializeCudaEngine(void const *blob, std::size_t size) noexcept override {
        std::string text(static_cast<char const *>(blob), size);
        int version = 0;
        if (std::sscanf(text.c_str(), "STANDIN %d", &version) != 1 || version != VERSION) {
            char words[160];
            std::snprintf(words, sizeof words,
                          "The engine plan file is not compatible with this version of TensorRT, expecting %d got %d",
                          VERSION, version);
            logger.log(ILogger::Severity::kERROR, words);
            return nullptr;
        }
        auto *engine = new Engine(logger);
        char *save, *line = strtok_r(&text[0], "\n", &save);
        for (; line; line = strtok_r(nullptr, "\n", &save)) {
            char side[8], word[64];
            int at = 0, step = 0, rank = 0;
            Tensor tensor{};
            if (std::sscanf(line, "fail_run %d", &engine->model.fail_run) == 1) continue;
            if (std::sscanf(line, "fail %63s", word) == 1) engine->model.fail = word;
            if (std::sscanf(line, "tensor %7s %63s %d %d%n", side, tensor.name, &tensor.type, &rank, &at) != 4) continue;
            tensor.input = !std::strcmp(side, "in");
            tensor.dims.nbDims = rank;
            tensor.size = 1;
            for (int axis = 0; axis < rank; axis++) {
                long dim = 0;
                std::sscanf(line + at, "%ld%n", &dim, &step);
                at += step;
                tensor.dims.d[axis] = dim;
                tensor.size *= dim;
            }
            engine->model.tensors.push_back(tensor);
        }
        return engine;
    }
};

} // namespace

extern "C" long standin_live() { return live; }

extern "C" int getInferLibVersion() { return VERSION; }

extern "C" void *createInferRuntime_INTERNAL(void *logger, std::int32_t version) {
    if (version != VERSION) return nullptr;
#ifdef BOGUS
    static_cast<ILogger *>(logger)->log(ILogger::Severity::kERROR, "CUDA initialization failure with error: 35");
    return reinterpret_cast<void *>(16);
#else
    return new Runtime(*static_cast<ILogger *>(logger));
#endif
}
