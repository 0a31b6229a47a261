#include "cli/training_settings.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <limits>
#include <type_traits>
#include <variant>

#include "cli/addition_task.h"
#include "cli/command.h"
#include "cli/random_stream.h"
#include "cli/text_task.h"
#include "heddle/error.h"
#include "io/file.h"

namespace heddle::cli {
namespace {

using Member =
    std::variant<int64_t TrainingSettings::*, double TrainingSettings::*, std::string TrainingSettings::*>;

struct Setting {
  const char* name;  // of the option and in checkpoints
  Member member;
  const char* type;
  const char* help;  // empty: no option
};

// In the order of --help.
const std::vector<Setting>& settings_table() {
  static const std::vector<Setting> table = {
      {"text", &TrainingSettings::text, "FILE",
       "Learn to continue this file, byte by byte, instead of adding"},
      {"text-bytes", &TrainingSettings::text_bytes, "", ""},
      {"text-checksum", &TrainingSettings::text_checksum, "", ""},
      {"digits", &TrainingSettings::digits, "N", "Digits of the numbers to add (3)"},
      {"seed", &TrainingSettings::seed, "N", "Starts the weights and the order of the data (0)"},
      {"batch", &TrainingSettings::batch, "N", "Sequences per step (128; text: 32)"},
      {"context", &TrainingSettings::context, "N", "Bytes of text in a sequence (64)"},
      {"dtype", &TrainingSettings::dtype, "f32|bf16",
       "Matrix products and attention in this dtype; weights, norms and loss stay float32 (f32)"},
      {"optimizer", &TrainingSettings::optimizer, "sgd|adam|adamw", "Optimizer (adamw)"},
      {"lr", &TrainingSettings::lr, "X", "Highest learning rate (0.003; text: 0.004; sgd: 0.1)"},
      {"warmup", &TrainingSettings::warmup, "N", "Updates until it is reached (50; text: 30)"},
      {"decay", &TrainingSettings::decay, "N",
       "Updates until a cosine has taken it to a twentieth (500; text: 300)"},
      {"clip", &TrainingSettings::clip, "X", "Largest global norm of the gradients, 0 for any (1)"},
      {"width", &TrainingSettings::width, "N", "Width of the model (64; text: 128)"},
      {"layers", &TrainingSettings::layers, "N", "Blocks (2)"},
      {"heads", &TrainingSettings::heads, "N", "Attention heads (4)"},
      {"kv-heads", &TrainingSettings::kv_heads, "N", "Key and value heads, 0 for as many (0)"},
      {"positions", &TrainingSettings::positions, "learned|rope", "How the model knows positions (learned)"},
      {"norm", &TrainingSettings::norm, "layer|rms", "Normalisation (layer)"},
      {"dropout", &TrainingSettings::dropout, "X", "Share of values dropped while training (0)"},
  };
  return table;
}

template <class T>
std::string number_text(T value) {
  std::array<char, 64> buffer;
  const auto result =
      std::to_chars(buffer.data(), buffer.data() + buffer.size(), value);  // shortest that reads back
  return std::string(buffer.data(), result.ptr);
}

std::string text_of(const TrainingSettings& settings, const Member& member) {
  return std::visit(
      [&](auto pointer) {
        const auto& value = settings.*pointer;
        if constexpr (std::is_same_v<std::decay_t<decltype(value)>, std::string>) {
          return value;
        } else {
          return number_text(value);
        }
      },
      member);
}

// False when `text` is not what the member holds.
bool assign(TrainingSettings& settings, const Member& member, const std::string& text) {
  return std::visit(
      [&](auto pointer) {
        auto& value = settings.*pointer;
        if constexpr (std::is_same_v<std::decay_t<decltype(value)>, std::string>) {
          value = text;
          return true;
        } else {
          const auto result = std::from_chars(text.data(), text.data() + text.size(), value);
          return result.ec == std::errc() && result.ptr == text.data() + text.size();
        }
      },
      member);
}

// Says that a text changed; nobody defends against forged ones.
std::string checksum(std::string_view text) {
  uint64_t state = 0;
  for (const char c : text) state = scramble(state ^ static_cast<unsigned char>(c)) + 0x9e3779b97f4a7c15u;
  std::array<char, 17> digits{};
  std::snprintf(digits.data(), digits.size(), "%016llx", static_cast<unsigned long long>(state));
  return digits.data();
}

void expect(bool fits, const std::string& text) {
  if (!fits) throw Error(ErrorCode::invalid_argument, text);
}

void expect_range(const char* option, int64_t value, int64_t low, int64_t high) {
  expect(value >= low && value <= high, std::string(option) + " must be " + std::to_string(low) + " to " +
                                            std::to_string(high) + ", got " + std::to_string(value));
}

void expect_one_of(const char* option, const std::string& value, std::initializer_list<const char*> known) {
  std::string list;
  for (const char* name : known) {
    if (value == name) return;
    list += std::string(list.empty() ? "" : ", ") + name;
  }
  expect(false, std::string(option) + " must be one of " + list + ", got '" + value + "'");
}

Schedule schedule_of(const TrainingSettings& s) {
  return schedule::warmup_cosine(s.lr, s.warmup, s.decay, s.lr / 20);
}

Optimizer optimizer_of(const TrainingSettings& s) {
  if (s.optimizer == "sgd") return Sgd{.learning_rate = schedule_of(s), .momentum = 0.9};
  // A short run: the second moment forgets the first steps within a few hundred.
  constexpr double beta2 = 0.99;
  if (s.optimizer == "adam") return Adam{.learning_rate = schedule_of(s), .beta2 = beta2};
  return AdamW{.learning_rate = schedule_of(s), .beta2 = beta2, .weight_decay = 0.01};
}

}  // namespace

GptConfig TrainingSettings::model() const {
  GptConfig config;
  config.vocabulary = is_text() ? 256 : 12;
  config.context = context;
  config.width = width;
  config.layers = layers;
  config.heads = heads;
  config.kv_heads = kv_heads;
  config.positions = positions == "rope" ? GptConfig::Positions::rope : GptConfig::Positions::learned;
  config.norm = norm == "rms" ? GptConfig::Norm::rms : GptConfig::Norm::layer;
  config.dropout = dropout;
  config.compute = dtype == "bf16" ? bf16 : f32;
  return config;
}

Graph TrainingSettings::training_step() const {
  MinimizeOptions options;
  options.max_grad_norm = clip;
  return gpt_training_step(model(), batch, optimizer_of(*this), options);
}

void TrainingSettings::check() const {
  constexpr int64_t million = 1'000'000;
  expect_range("--digits", digits, 1, AdditionTask::largest_digits);
  expect_range("--seed", seed, 0, std::numeric_limits<int64_t>::max());
  expect_range("--batch", batch, 1, million);
  expect_range("--context", context, 1, million);
  expect(is_text() || context == AdditionTask::context_of(digits),
         "sums of " + std::to_string(digits) + " digits take a context of " +
             std::to_string(AdditionTask::context_of(digits)) + ", not " + std::to_string(context));
  expect_one_of("--dtype", dtype, {"f32", "bf16"});
  expect_one_of("--optimizer", optimizer, {"sgd", "adam", "adamw"});
  expect(std::isfinite(lr) && lr > 0, "--lr must be a number above 0, got " + number_text(lr));
  expect_range("--warmup", warmup, 0, million);
  expect(decay > warmup && decay <= 1000 * million,
         "--decay must be above --warmup (" + std::to_string(warmup) + ") and at most " +
             std::to_string(1000 * million) + ", got " + std::to_string(decay));
  expect(std::isfinite(clip) && clip >= 0, "--clip must be a number of at least 0, got " + number_text(clip));
  expect_range("--width", width, 1, 65536);
  expect_range("--layers", layers, 1, 1000);
  expect_range("--heads", heads, 1, width);
  expect(width % heads == 0,
         "--heads must divide --width (" + std::to_string(width) + "), got " + std::to_string(heads));
  expect_range("--kv-heads", kv_heads, 0, heads);
  expect(kv_heads == 0 || heads % kv_heads == 0,
         "--kv-heads must divide --heads (" + std::to_string(heads) + "), got " + std::to_string(kv_heads));
  expect_one_of("--positions", positions, {"learned", "rope"});
  expect_one_of("--norm", norm, {"layer", "rms"});
  expect(dropout >= 0 && dropout < 1,
         "--dropout must be at least 0 and below 1, got " + number_text(dropout));
  gpt_parameter_count(model());  // checks what the model's settings are to each other
}

TrainingSettings default_settings(bool text, const std::string& optimizer) {
  TrainingSettings settings;
  settings.optimizer = optimizer;
  settings.batch = text ? 32 : 128;
  settings.context = text ? 64 : AdditionTask::context_of(settings.digits);
  settings.lr = optimizer == "sgd" ? 0.1 : text ? 0.004 : 0.003;
  settings.warmup = text ? 30 : 50;
  settings.width = text ? 128 : 64;
  settings.decay = text ? 300 : 500;
  return settings;
}

std::map<std::string, std::string> to_metadata(const TrainingSettings& settings) {
  std::map<std::string, std::string> metadata;
  for (const Setting& setting : settings_table()) metadata[setting.name] = text_of(settings, setting.member);
  return metadata;
}

std::vector<std::pair<std::string, std::variant<int64_t, double, std::string>>> values_of(
    const TrainingSettings& settings) {
  std::vector<std::pair<std::string, std::variant<int64_t, double, std::string>>> values;
  for (const Setting& setting : settings_table())
    std::visit([&](auto pointer) { values.emplace_back(setting.name, settings.*pointer); }, setting.member);
  return values;
}

TrainingSettings from_metadata(const std::map<std::string, std::string>& metadata) {
  TrainingSettings settings;
  for (const Setting& setting : settings_table()) {
    const auto entry = metadata.find(setting.name);
    if (entry == metadata.end())
      throw Error(ErrorCode::corrupt, std::string("its metadata has no '") + setting.name + "'");
    if (!assign(settings, setting.member, entry->second))
      throw Error(ErrorCode::corrupt, std::string("its metadata has no number as '") + setting.name + "'");
  }
  return settings;
}

void SettingOptions::add_to(CLI::App& command) {
  for (const Setting& setting : settings_table()) {
    if (*setting.help == '\0') continue;
    std::visit(
        [&](auto pointer) {
          CLI::Option* option =
              command.add_option(std::string("--") + setting.name, given_.*pointer, setting.help);
          option->type_name(setting.type)->group("What is trained");
          options_.emplace_back(setting.name, option);
        },
        setting.member);
  }
}

TrainingSettings SettingOptions::resolve() const {
  std::map<std::string, bool> given;
  for (const auto& [name, option] : options_) given[name] = option->count() > 0;
  if (given["text"] && given_.text.empty()) throw UsageError("--text needs the name of a file");
  if (given["text"] && given["digits"]) throw UsageError("--digits is for sums and does not go with --text");
  if (!given["text"] && given["context"])
    throw UsageError("--context is for --text; --digits decides how long sums are");

  TrainingSettings settings =
      default_settings(given["text"], given["optimizer"] ? given_.optimizer : "adamw");
  for (const Setting& setting : settings_table())
    if (given[setting.name]) assign(settings, setting.member, text_of(given_, setting.member));
  try {
    if (!settings.is_text()) settings.context = AdditionTask::context_of(settings.digits);
    // A warm-up beyond the default decay means a longer run.
    if (!given["decay"]) settings.decay = std::max(settings.decay, 2 * settings.warmup);
    settings.check();
  } catch (const Error& e) {
    throw UsageError(e.what());
  }
  return settings;
}

TrainingSettings SettingOptions::resolve(const TrainingSettings& saved) const {
  TrainingSettings settings = saved;
  std::map<std::string, bool> given;
  for (const auto& [name, option] : options_) given[name] = option->count() > 0;
  if (given["text"]) {
    if (!saved.is_text()) throw UsageError("the checkpoint learns to add: --text does not go with it");
    settings.text = given_.text;
  }
  for (const Setting& setting : settings_table()) {
    const std::string was = text_of(settings, setting.member), is = text_of(given_, setting.member);
    if (given[setting.name] && was != is) {
      throw UsageError(std::string("the checkpoint was trained with --") + setting.name + " " + was +
                       ", not " + is + ": leave the option out, or train anew without --resume");
    }
  }
  return settings;
}

std::unique_ptr<Task> open_task(TrainingSettings& settings) {
  const auto seed = static_cast<uint64_t>(settings.seed);
  if (!settings.is_text()) return std::make_unique<AdditionTask>(settings.digits, seed);

  constexpr uint64_t largest_text = uint64_t{1} << 30;
  std::string text = io::read_file(settings.text, largest_text);
  const int64_t bytes = std::ssize(text);
  const std::string sum = checksum(text);
  if (!settings.text_checksum.empty() && (settings.text_checksum != sum || settings.text_bytes != bytes)) {
    throw Error(ErrorCode::invalid_argument, "'" + settings.text +
                                                 "' is not the text that the checkpoint was trained on (" +
                                                 std::to_string(settings.text_bytes) + " bytes, checksum " +
                                                 settings.text_checksum + "): give that one with --text");
  }
  settings.text_bytes = bytes;
  settings.text_checksum = sum;
  try {
    auto task = std::make_unique<TextTask>(std::move(text), settings.context, seed);
    settings.context = task->context();
    return task;
  } catch (const Error& e) {
    throw Error(e.code(), "cannot learn from '" + settings.text + "': " + e.what());
  }
}

}  // namespace heddle::cli
