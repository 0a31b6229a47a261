// Everything that decides what a training run computes: two runs with equal settings on one device are the
// same bit for bit, however they are split by --save and --resume.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "cli/task.h"
#include "heddle/models/gpt.h"
#include "heddle/optimizer.h"

namespace heddle::cli {

struct TrainingSettings {
  std::string text;           // the file to learn; empty: learn to add
  int64_t text_bytes = 0;     // its size ...
  std::string text_checksum;  // ... and contents, which a resumed run must find again
  int64_t digits = 3;         // of the numbers to add
  int64_t seed = 0;
  int64_t batch = 0;
  int64_t context = 0;  // bytes of text that the model sees; decided by `digits` for sums
  std::string dtype = "f32";
  std::string optimizer = "adamw";
  double lr = 0;       // the highest learning rate
  int64_t warmup = 0;  // updates until it is reached
  int64_t decay = 0;   // updates until it has fallen to a twentieth
  double clip = 1;     // global norm of the gradients; 0: none
  int64_t width = 64;
  int64_t layers = 2;
  int64_t heads = 4;
  int64_t kv_heads = 0;
  std::string positions = "learned";
  std::string norm = "layer";
  double dropout = 0;

  bool is_text() const { return !text.empty(); }
  GptConfig model() const;
  Graph training_step() const;
  // Throws Error (invalid_argument) for values that no run can have; text_bytes and text_checksum are left
  // out.
  void check() const;
};

// What a run has when nothing else is asked for; the task and the optimizer decide.
TrainingSettings default_settings(bool text, const std::string& optimizer);

// Names and values, for reports.
std::vector<std::pair<std::string, std::variant<int64_t, double, std::string>>> values_of(
    const TrainingSettings& settings);
// Names and values as text, for the metadata of a checkpoint.
std::map<std::string, std::string> to_metadata(const TrainingSettings& settings);
// The reverse. Throws Error (corrupt) naming the entry that is missing or cannot be read.
TrainingSettings from_metadata(const std::map<std::string, std::string>& metadata);

// The settings as command-line options.
class SettingOptions {
 public:
  void add_to(CLI::App& command);
  // The defaults, with what was given put over them.
  TrainingSettings resolve() const;
  // A checkpoint's settings. Throws UsageError when an option was given that disagrees with them (another
  // file for
  // --text is fine here: its contents are compared when it is read).
  TrainingSettings resolve(const TrainingSettings& saved) const;

 private:
  TrainingSettings given_;
  std::vector<std::pair<std::string, CLI::Option*>> options_;  // by setting
};

// Reads the text, if there is one, and fills in or compares text_bytes and text_checksum and the context it
// allows. Throws Error: io, invalid_argument (nothing to learn, another text than the checkpoint's).
std::unique_ptr<Task> open_task(TrainingSettings& settings);

}  // namespace heddle::cli
