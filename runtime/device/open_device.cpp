#include "device/open_device.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <bit>
#include <cstring>

#include "device/plugin_text.h"

namespace heddle::device {
namespace {

// Only `text`'s first byte is cleared: a status is made on every launch.
hd_status fresh_status() {
  hd_status status;
  status.size = sizeof(status);
  status.code = HD_OK;
  status.text[0] = 0;
  return status;
}

// Above them a figure is nonsense rather than large: sums of bytes must stay inside 64 bits, and no machine
// has pages above 1 GiB to align to.
constexpr uint64_t most_bytes = uint64_t{1} << 56;  // assumption
constexpr uint64_t most_alignment = uint64_t{1} << 30;

// What a backend filled of a struct that begins with its size; the rest stays zero.
template <class Struct>
void read_sized(Struct& to, const void* from) {
  if (from == nullptr) return;
  uint32_t size = 0;
  std::memcpy(&size, from, sizeof(size));
  std::memcpy(&to, from, std::min<size_t>(size, sizeof(Struct)));
}

}  // namespace

OpenDevice::OpenDevice(hd_device* device, const hd_device_vtable* vtable, std::string spec)
    : device_(device), spec_(std::move(spec)) {
  std::memcpy(&vtable_, vtable, std::min<size_t>(vtable->size, sizeof(vtable_)));
  const auto& v = vtable_;
  const bool complete = v.info && v.alloc && v.free && v.stream && v.release_stream && v.copy && v.offer &&
                        v.compile && v.release_program && v.describe && v.bind && v.release_binding &&
                        v.launch && v.wait && v.poll && v.close && v.extension;
  if (!complete) {
    if (v.close) close();
    throw Error(ErrorCode::unsupported, "device " + spec_ +
                                            " leaves out a required function of device_abi.h; rebuild "
                                            "its backend against the header of this Heddle");
  }
  name_ = spec_;
  try {
    read_info();
    read_extensions();
  } catch (...) {
    close();
    throw;
  }
}

OpenDevice::~OpenDevice() { close(); }

void OpenDevice::close() noexcept {
  try {
    vtable_.close(device_);
  } catch (...) {
    log_thrown("closing");
  }
}

void OpenDevice::read_info() {
  hd_info info{};
  info.size = sizeof(info);
  guarded("telling its facts", [&] { vtable_.info(device_, &info); });
  if (info.name != nullptr && *info.name != 0) name_ = printable(info.name);
  description_ = printable(info.description);
  clock_ = info.clock;
  memory_bytes_ = info.memory_bytes;
  alignment_ = std::max<uint64_t>(info.alignment, 1);
  if (!std::has_single_bit(alignment_) || alignment_ > most_alignment)
    refuse("telling its facts", "an alignment of " + std::to_string(alignment_) +
                                    " bytes is no power of two up to " + std::to_string(most_alignment));
  host_memory_ = (info.flags & HD_INFO_HOST_MEMORY) != 0 && vtable_.rebind != nullptr;
  computes_ = (info.flags & HD_INFO_TIMING_ALONE) == 0;
}

void OpenDevice::read_extensions() {
  read_sized(simulated_, extension(HD_EXTENSION_SIMULATED));
  read_sized(spans_, extension(HD_EXTENSION_SPANS));
  read_sized(trim_, extension(HD_EXTENSION_TRIM));
}

void OpenDevice::fail(const char* doing, int32_t code, const hd_status& status) const {
  const bool known = code >= HD_ERROR_INVALID_ARGUMENT && code <= HD_ERROR_INTERNAL;
  std::string text = "device " + name_ + ", " + doing + ": ";
  text += status.text[0] ? printable_field(status.text, sizeof(status.text))
                         : "failed without saying why (please report it to the backend's author)";
  throw Error(known ? static_cast<ErrorCode>(code) : ErrorCode::device, text);
}

void OpenDevice::refuse(const char* doing, const std::string& text) const {
  throw Error(ErrorCode::device,
              "device " + name_ + ", " + doing + ": " + text + " (please report it to the backend's author)");
}

void OpenDevice::rethrow(const char* doing) const { refuse(doing, thrown_text()); }

void OpenDevice::log_thrown(const char* doing) const noexcept {
  try {
    spdlog::error("device {}, {}: {}", name_, doing, thrown_text());
  } catch (...) {  // no memory to say it with
  }
}

Buffer OpenDevice::alloc(uint64_t bytes) {
  hd_status status = fresh_status();
  hd_buffer* buffer = nullptr;
  const char* const doing = "allocating memory";
  if (const int32_t code = guarded(doing, [&] { return vtable_.alloc(device_, bytes, &buffer, &status); }))
    fail(doing, code, status);
  if (buffer == nullptr) refuse(doing, "alloc() succeeded and gave no buffer");
  return Buffer(shared_from_this(), buffer);
}

Stream OpenDevice::stream() {
  hd_status status = fresh_status();
  hd_stream* stream = nullptr;
  const char* const doing = "making a stream";
  if (const int32_t code = guarded(doing, [&] { return vtable_.stream(device_, &stream, &status); }))
    fail(doing, code, status);
  if (stream == nullptr) refuse(doing, "stream() succeeded and gave no stream");
  return Stream(shared_from_this(), stream);
}

OfferAnswer OpenDevice::offer(const hd_graph& graph, uint32_t node) const {
  hd_offer answer{};
  answer.size = sizeof(answer);
  const int32_t code = guarded("answering whether it runs a node",
                               [&] { return vtable_.offer(device_, &graph, node, &answer); });
  if (code != HD_OK) return {false, "failed to answer (code " + std::to_string(code) + ")"};
  if (answer.verdict == HD_OFFER_YES) return {true, {}};
  return {false, answer.reason[0] ? printable_field(answer.reason, sizeof(answer.reason))
                                  : "refused without a reason"};
}

Program OpenDevice::compile(const hd_graph& graph) {
  hd_status status = fresh_status();
  hd_program* program = nullptr;
  const char* const doing = "compiling";
  if (const int32_t code =
          guarded(doing, [&] { return vtable_.compile(device_, &graph, &program, &status); }))
    fail(doing, code, status);
  if (program == nullptr) refuse(doing, "compile() succeeded and gave no program");
  return Program(shared_from_this(), program);
}

hd_program_info OpenDevice::describe(const Program& program) const {
  hd_program_info info{};
  info.size = sizeof(info);
  const char* const doing = "describing a program";
  guarded(doing, [&] { vtable_.describe(device_, program.get(), &info); });
  const auto expect_array = [&](uint32_t n, const void* array, const char* what) {
    if (n > 0 && array == nullptr)
      refuse(doing, "describe() counts " + std::to_string(n) + " " + what + " and gives none");
  };
  expect_array(info.n_in_place, info.in_place, "in-place pairs");
  expect_array(info.n_kernel, info.kernel, "kernels");
  if (info.scratch_bytes > most_bytes)
    refuse(doing, "describe() asks for " + std::to_string(info.scratch_bytes) +
                      " bytes of scratch memory, more than any device has");
  info.scratch_lower_bound = std::min(info.scratch_lower_bound, info.scratch_bytes);
  return info;
}

Binding OpenDevice::bind(const Program& program, const std::vector<hd_span>& spans) {
  hd_status status = fresh_status();
  hd_binding* binding = nullptr;
  const char* const doing = "binding memory";
  const int32_t code = guarded(doing, [&] {
    return vtable_.bind(device_, program.get(), spans.data(), static_cast<uint32_t>(spans.size()), &binding,
                        &status);
  });
  if (code != HD_OK) fail(doing, code, status);
  if (binding == nullptr) refuse(doing, "bind() succeeded and gave no binding");
  return Binding(shared_from_this(), binding);
}

void OpenDevice::rebind(const Binding& binding, uint32_t value, hd_span span) const {
  hd_status status = fresh_status();
  if (const int32_t code = guarded(
          "rebinding memory", [&] { return vtable_.rebind(device_, binding.get(), value, span, &status); }))
    fail("rebinding memory", code, status);
}

uint64_t OpenDevice::copy(const Stream& stream, hd_span dst, hd_span src) const {
  hd_status status = fresh_status();
  uint64_t tick = 0;
  if (const int32_t code =
          guarded("copying", [&] { return vtable_.copy(device_, stream.get(), dst, src, &tick, &status); }))
    fail("copying", code, status);
  return tick;
}

uint64_t OpenDevice::launch(const Stream& stream, const Binding& binding) const {
  hd_status status = fresh_status();
  uint64_t tick = 0;
  if (const int32_t code = guarded(
          "running", [&] { return vtable_.launch(device_, stream.get(), binding.get(), &tick, &status); }))
    fail("running", code, status);
  return tick;
}

void OpenDevice::wait(const Stream& stream, uint64_t tick) const {
  hd_status status = fresh_status();
  if (const int32_t code =
          guarded("running", [&] { return vtable_.wait(device_, stream.get(), tick, &status); }))
    fail("running", code, status);
}

const void* OpenDevice::extension(const char* name) const {
  return guarded("naming its extensions", [&] { return vtable_.extension(device_, name); });
}

uint64_t OpenDevice::program_picoseconds(const Program& program) const {
  if (simulated_.program_picoseconds == nullptr) return 0;
  return guarded("telling a program's time",
                 [&] { return simulated_.program_picoseconds(device_, program.get()); });
}

std::string OpenDevice::program_report(const Program& program) const {
  if (simulated_.program_report == nullptr) return "{}";
  const char* report =
      guarded("reporting on a program", [&] { return simulated_.program_report(device_, program.get()); });
  return report != nullptr ? report : "{}";
}

std::string OpenDevice::program_trace(const Program& program) const {
  if (simulated_.program_trace == nullptr) return "[]";
  const char* trace =
      guarded("tracing a program", [&] { return simulated_.program_trace(device_, program.get()); });
  return trace != nullptr ? trace : "[]";
}

void OpenDevice::record_spans(const Binding& binding, bool on) const {
  if (spans_.record == nullptr) return;
  guarded("recording spans", [&] { spans_.record(device_, binding.get(), on); });
}

std::vector<hd_span_record> OpenDevice::last_spans(const Binding& binding, size_t most) const {
  if (spans_.last == nullptr) return {};
  const hd_span_record* const* records = nullptr;
  const uint32_t n =
      guarded("telling its spans", [&] { return spans_.last(device_, binding.get(), &records); });
  std::vector<hd_span_record> spans;
  for (size_t i = 0; records != nullptr && i < std::min<size_t>(n, most); ++i)
    read_sized(spans.emplace_back(hd_span_record{}), records[i]);
  return spans;
}

void OpenDevice::trim() const {
  if (trim_.trim == nullptr) return;
  guarded("giving memory back", [&] { trim_.trim(device_); });
}

}  // namespace heddle::device
