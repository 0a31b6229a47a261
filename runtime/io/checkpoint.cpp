#include "heddle/checkpoint.h"

#include <algorithm>
#include <array>
#include <bit>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "heddle/error.h"
#include "io/file.h"
#include "io/safetensors.h"

namespace heddle {
namespace {

static_assert(std::endian::native == std::endian::little, "safetensors files are little-endian");

uint64_t little_endian(std::span<const char, 8> bytes) {
  uint64_t value = 0;
  for (size_t i = 0; i < 8; ++i) value |= uint64_t{static_cast<unsigned char>(bytes[i])} << (8 * i);
  return value;
}

std::string_view bytes_of(const Tensor& tensor) {
  return {static_cast<const char*>(tensor.data()), static_cast<size_t>(tensor.bytes())};
}

// A C++ bool with another byte than 0 or 1 is undefined behaviour wherever it is read.
void expect_truth_values(const Tensor& tensor, uint64_t first_byte, const std::string& file) {
  const std::string_view bytes = bytes_of(tensor);
  const auto wrong = std::find_if(bytes.begin(), bytes.end(), [](char b) { return b != 0 && b != 1; });
  if (wrong == bytes.end()) return;
  throw Error(ErrorCode::corrupt,
              "'" + file + "' is no intact safetensors file: byte " +
                  std::to_string(first_byte + static_cast<uint64_t>(wrong - bytes.begin())) +
                  ", in a bool tensor, is neither 0 nor 1");
}

}  // namespace

void save_checkpoint(const std::string& file, const Checkpoint& checkpoint) {
  std::vector<std::pair<std::string, Tensor>> tensors;
  for (const auto& [name, tensor] : checkpoint.tensors) {
    if (!tensor.defined()) {
      throw Error(ErrorCode::invalid_argument, "checkpoint '" + file + "': '" + name + "' is no tensor");
    }
    if (name == "__metadata__") {
      throw Error(ErrorCode::invalid_argument,
                  "checkpoint '" + file + "': no tensor may have the format's own name '__metadata__'");
    }
    tensors.emplace_back(name, tensor.contiguous());
  }
  // Wide elements first, as the format's own library does: every tensor is then aligned to its elements.
  std::stable_sort(tensors.begin(), tensors.end(), [](const auto& a, const auto& b) {
    return size_of(a.second.dtype()) > size_of(b.second.dtype());
  });

  io::SafetensorsHeader header;
  header.metadata = checkpoint.metadata;
  uint64_t offset = 0;
  for (const auto& [name, tensor] : tensors) {
    header.entries.push_back({name, tensor.dtype(), tensor.shape(), offset, offset + tensor.bytes()});
    offset += tensor.bytes();
  }
  const std::string start = io::format_safetensors_header(header);
  io::FileReplacement replacement(file);
  replacement.write(start);
  for (const auto& [name, tensor] : tensors) replacement.write(bytes_of(tensor));
  replacement.commit();
}

Checkpoint load_checkpoint(const std::string& file) {
  const io::InputFile input(file);
  const auto fail = [&](const std::string& what) {
    throw Error(ErrorCode::corrupt, "'" + file + "' is no intact safetensors file: " + what);
  };
  const auto read = [&](uint64_t offset, std::span<char> bytes) {
    if (!input.read(offset, bytes)) fail("it became shorter while it was read");
  };

  if (input.size() < io::safetensors_prefix_bytes) {
    fail("it has " + std::to_string(input.size()) + " bytes, fewer than the 8 of the header's length");
  }
  std::array<char, io::safetensors_prefix_bytes> prefix{};
  read(0, prefix);
  const uint64_t header_bytes = little_endian(prefix);
  const uint64_t behind_prefix = input.size() - io::safetensors_prefix_bytes;
  if (header_bytes > behind_prefix) {
    fail("its first 8 bytes promise a header of " + std::to_string(header_bytes) + " bytes, but only " +
         std::to_string(behind_prefix) + " follow");
  }
  if (header_bytes > io::safetensors_header_limit) {
    fail("its header of " + std::to_string(header_bytes) + " bytes exceeds the format's limit of " +
         std::to_string(io::safetensors_header_limit));
  }
  std::string text(static_cast<size_t>(header_bytes), '\0');
  read(io::safetensors_prefix_bytes, text);
  const io::SafetensorsHeader header = io::parse_safetensors_header(text, behind_prefix - header_bytes, file);

  Checkpoint checkpoint;
  checkpoint.metadata = header.metadata;
  const uint64_t data_start = io::safetensors_prefix_bytes + header_bytes;
  for (const io::SafetensorsEntry& entry : header.entries) {
    Tensor tensor(entry.dtype, entry.shape);
    read(data_start + entry.begin, {static_cast<char*>(tensor.data()), static_cast<size_t>(tensor.bytes())});
    if (entry.dtype == DType::boolean) expect_truth_values(tensor, data_start + entry.begin, file);
    checkpoint.tensors.emplace(entry.name, std::move(tensor));
  }
  return checkpoint;
}

}  // namespace heddle
