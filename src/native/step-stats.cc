// Compiled into the addon beside tfjs-node-gpu's own sources, whose calls of TF_SessionRun come here (-DTF_SessionRun=GqaSessionRun).
// While the environment variable GQA_STEP_STATS names a file, a run records when each operation ran, and leaves TensorFlow's RunMetadata message there; otherwise nothing is different.
#undef TF_SessionRun
#include <cstdio>
#include <cstdlib>

#include "tensorflow/c/c_api.h"

extern "C" void GqaSessionRun(TF_Session* session, const TF_Buffer* run_options, const TF_Output* inputs,
                              TF_Tensor* const* input_values, int ninputs, const TF_Output* outputs,
                              TF_Tensor** output_values, int noutputs, const TF_Operation* const* targets,
                              int ntargets, TF_Buffer* run_metadata, TF_Status* status) {
  const char* file = std::getenv("GQA_STEP_STATS");
  if (file == nullptr || *file == '\0') {
    TF_SessionRun(session, run_options, inputs, input_values, ninputs, outputs, output_values, noutputs, targets,
                  ntargets, run_metadata, status);
    return;
  }
  const char full_trace[] = {0x08, 0x03};  // RunOptions { trace_level: FULL_TRACE }
  TF_Buffer* options = TF_NewBufferFromString(full_trace, sizeof(full_trace));
  TF_Buffer* metadata = TF_NewBuffer();
  TF_SessionRun(session, options, inputs, input_values, ninputs, outputs, output_values, noutputs, targets, ntargets,
                metadata, status);
  if (TF_GetCode(status) == TF_OK) {
    if (std::FILE* out = std::fopen(file, "wb")) {
      std::fwrite(metadata->data, 1, metadata->length, out);
      std::fclose(out);
    }
  }
  TF_DeleteBuffer(options);
  TF_DeleteBuffer(metadata);
}
