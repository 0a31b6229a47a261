// The header of a safetensors file: https://github.com/huggingface/safetensors#format
//
//   8 bytes   N, the header's length, unsigned little-endian
//   N bytes   a JSON object {"name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [begin, end]}, ...,
//             "__metadata__": {"key": "text", ...}}, padded with spaces
//   the rest  the tensors' bytes, row-major little-endian, without gaps; offsets count from here
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "heddle/dtype.h"
#include "heddle/shape.h"

namespace heddle::io {

struct SafetensorsEntry {
  std::string name;
  DType dtype = DType::float32;
  Shape shape;
  uint64_t begin = 0, end = 0;  // of its bytes, counted from the end of the header
};

struct SafetensorsHeader {
  std::vector<SafetensorsEntry> entries;  // reading: in order of begin; writing: as given
  std::map<std::string, std::string> metadata;
};

inline constexpr uint64_t safetensors_prefix_bytes = 8;
inline constexpr uint64_t safetensors_header_limit = 100'000'000;  // the format's own bound

// Reads `text`, the N header bytes of a file whose tensors take `data_bytes`. Throws corrupt naming `file`
// and the byte of the file (or the tensor) where it stops making sense; afterwards the entries cover [0,
// data_bytes) exactly, without gap or overlap, and each has the bytes that its dtype and shape need.
SafetensorsHeader parse_safetensors_header(std::string_view text, uint64_t data_bytes,
                                           const std::string& file);

// The first bytes of a file: the length and the header, padded so that the data starts at a multiple of 64.
// Throws invalid_argument for names and metadata that are not UTF-8.
std::string format_safetensors_header(const SafetensorsHeader& header);

}  // namespace heddle::io
