// Checkpoints: named tensors in the safetensors format (https://github.com/huggingface/safetensors), readable
// from Python as they are.
#pragma once

#include <map>
#include <string>

#include "heddle/tensor.h"

namespace heddle {

struct Checkpoint {
  std::map<std::string, Tensor> tensors;
  std::map<std::string, std::string> metadata;  // "__metadata__" of the file
};

// Writes to a temporary file in the same folder, flushes it to the disk, and renames: a crash at any moment
// leaves the old file or the new one, never half of one. Throws io naming the file and the system's reason.
void save_checkpoint(const std::string& file, const Checkpoint& checkpoint);

// The strict way into the variables of a graph is load_variables() of heddle/variable.h:
//   load_variables(variables, graph, load_checkpoint("model.safetensors").tensors);
// Throws io (unreadable) or corrupt (with the byte where the file stops making sense: truncated, overlapping
// or out-of-range tensors, unknown dtype, header that is no JSON object). Every size is checked before it is
// used.
Checkpoint load_checkpoint(const std::string& file);

}  // namespace heddle
