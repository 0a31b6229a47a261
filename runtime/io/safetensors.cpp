#include "io/safetensors.h"

#include <algorithm>
#include <iterator>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <utility>

#include "heddle/error.h"

namespace heddle::io {
namespace {

constexpr std::string_view metadata_key = "__metadata__";
constexpr uint64_t data_alignment = 64;

constexpr std::pair<DType, std::string_view> dtype_names[] = {{DType::float64, "F64"},
                                                              {DType::float32, "F32"},
                                                              {DType::bfloat16, "BF16"},
                                                              {DType::float16, "F16"},
                                                              {DType::float8_e4m3, "F8_E4M3"},
                                                              {DType::float8_e5m2, "F8_E5M2"},
                                                              {DType::int8, "I8"},
                                                              {DType::int16, "I16"},
                                                              {DType::int32, "I32"},
                                                              {DType::int64, "I64"},
                                                              {DType::uint8, "U8"},
                                                              {DType::uint16, "U16"},
                                                              {DType::uint32, "U32"},
                                                              {DType::uint64, "U64"},
                                                              {DType::boolean, "BOOL"}};

std::optional<DType> dtype_of_name(std::string_view name) {
  for (const auto& [dtype, known] : dtype_names)
    if (known == name) return dtype;
  return std::nullopt;
}

std::string_view name_of_dtype(DType dtype) {
  for (const auto& [known, name] : dtype_names)
    if (known == dtype) return name;
  throw Error(ErrorCode::internal, "a dtype without a safetensors name");
}

// A name out of a file, fit for one line of a message.
std::string in_quotes(std::string_view name) {
  constexpr size_t longest = 80;
  std::string text = "'";
  for (const char c : name.substr(0, longest)) text.push_back(static_cast<unsigned char>(c) < ' ' ? '?' : c);
  return text + (name.size() > longest ? "...'" : "'");
}

// An iterator over the header that knows how far the parser is, for messages.
struct CountingIterator {
  using iterator_category = std::input_iterator_tag;
  using value_type = char;
  using difference_type = std::ptrdiff_t;
  using pointer = const char*;
  using reference = const char&;

  const char* at;
  const char** furthest;  // null for the end

  reference operator*() const { return *at; }
  CountingIterator& operator++() {
    ++at;
    if (furthest != nullptr) *furthest = at;
    return *this;
  }
  CountingIterator operator++(int) {
    CountingIterator before = *this;
    ++*this;
    return before;
  }
  bool operator==(const CountingIterator& other) const { return at == other.at; }
};

// Receives the JSON as it is read and accepts nothing but a header: no tree is built, so neither depth nor
// size of the text matters.
class HeaderReader {
 public:
  HeaderReader(std::string_view text, const std::string& file)
      : start_(text.data()), at_(text.data()), file_(file) {}

  SafetensorsHeader read(std::string_view text) {
    if (!text.starts_with('{')) fail("the header does not begin with '{'");
    if (const size_t zero = text.find('\0'); zero != text.npos) {  // which the parser takes for the end
      at_ += zero + 1;
      fail("the header has a zero byte");
    }
    const char* last = text.data() + text.size();
    nlohmann::json::sax_parse(CountingIterator{text.data(), &at_}, CountingIterator{last, nullptr}, this);
    return std::move(header_);
  }

  // nlohmann's SAX interface. The names are the library's.
  bool null() { unexpected("null"); }
  bool boolean(bool) { unexpected("a truth value"); }
  bool number_integer(int64_t) { unexpected("a negative number"); }
  bool number_float(double, const std::string&) { unexpected("a number that is not a whole one"); }
  bool binary(nlohmann::json::binary_t&) { unexpected("binary data"); }

  bool number_unsigned(uint64_t value) {
    if (place_ == Place::shape) {
      if (value > uint64_t{1} << 62) unexpected("a size beyond 2^62");
      if (entry_.shape.rank() == max_rank) {
        fail("tensor " + in_quotes(entry_.name) + " has more than " + std::to_string(max_rank) +
             " dimensions");
      }
      entry_.shape.push_back(static_cast<int64_t>(value));
    } else if (place_ == Place::offsets) {
      if (offsets_ == 2) unexpected("a third offset");
      (offsets_++ == 0 ? entry_.begin : entry_.end) = value;
    } else {
      unexpected("a number");
    }
    return true;
  }

  bool string(std::string& value) {
    if (place_ == Place::metadata) {
      header_.metadata.emplace(key_, std::move(value));
    } else if (place_ == Place::dtype) {
      const std::optional<DType> dtype = dtype_of_name(value);
      if (!dtype)
        fail("tensor " + in_quotes(entry_.name) + " has dtype " + in_quotes(value) +
             ", which Heddle does not know");
      entry_.dtype = *dtype;
      place_ = Place::tensor;
    } else {
      unexpected("a text");
    }
    return true;
  }

  bool start_object(size_t) {
    if (place_ == Place::start) {
      place_ = Place::header;
    } else if (place_ == Place::entry) {
      place_ = key_ == metadata_key ? Place::metadata : Place::tensor;
      keys_.clear();
      entry_ = SafetensorsEntry{key_, DType::float32, {}, 0, 0};
      offsets_ = 0;
    } else {
      unexpected("an object");
    }
    return true;
  }

  bool key(std::string& name) {
    if (place_ == Place::header) {
      if (!names_.insert(name).second) fail("two entries are named " + in_quotes(name));
      place_ = Place::entry;
    } else {  // of the metadata or of a tensor: nothing else has keys
      if (!keys_.insert(name).second) fail(in_quotes(name) + " is given twice in one entry");
      if (place_ == Place::tensor) place_ = place_of(name);
    }
    key_ = std::move(name);
    return true;
  }

  bool end_object() {
    if (place_ == Place::tensor) {
      for (const char* needed : {"dtype", "shape", "data_offsets"})
        if (!keys_.contains(needed)) fail("tensor " + in_quotes(entry_.name) + " has no " + needed);
      header_.entries.push_back(std::move(entry_));
    }
    place_ = place_ == Place::header ? Place::end : Place::header;
    return true;
  }

  bool start_array(size_t) {
    if (place_ == Place::before_shape) {
      place_ = Place::shape;
    } else if (place_ == Place::before_offsets) {
      place_ = Place::offsets;
    } else {
      unexpected("an array");
    }
    return true;
  }

  bool end_array() {
    if (place_ == Place::offsets && offsets_ != 2) {
      fail("tensor " + in_quotes(entry_.name) + " has " + std::to_string(offsets_) + " data_offsets, not 2");
    }
    place_ = Place::tensor;
    return true;
  }

  bool parse_error(size_t, const std::string&, const nlohmann::json::exception&) {
    fail("the header is not a JSON object in UTF-8");
  }

 private:
  enum class Place : uint8_t {
    start,           // before the header's {
    header,          // between entries
    entry,           // an entry's name was read
    metadata,        // inside "__metadata__"
    tensor,          // inside a tensor's object, between its keys
    dtype,           // after "dtype":
    before_shape,    // after "shape":
    shape,           // inside its array
    before_offsets,  // after "data_offsets":
    offsets,         // inside its array
    end,             // after the header's }
  };

  Place place_of(const std::string& name) const {
    if (name == "dtype") return Place::dtype;
    if (name == "shape") return Place::before_shape;
    if (name == "data_offsets") return Place::before_offsets;
    fail("tensor " + in_quotes(entry_.name) + " has " + in_quotes(name) + ", which is no part of the format");
  }

  [[noreturn]] void fail(const std::string& what) const {
    const auto read = static_cast<uint64_t>(at_ - start_);
    const uint64_t byte = safetensors_prefix_bytes + (read > 0 ? read - 1 : 0);  // the last one read
    throw Error(ErrorCode::corrupt, "'" + file_ + "' is no intact safetensors file: at byte " +
                                        std::to_string(byte) + ", " + what);
  }
  [[noreturn]] void unexpected(const char* what) const {
    fail(std::string(what) + " does not belong there" +
         (key_.empty() ? "" : " (after " + in_quotes(key_) + ")"));
  }

  const char* start_;
  const char* at_;
  const std::string& file_;
  Place place_ = Place::start;
  std::string key_;
  std::set<std::string> names_;  // of the entries
  std::set<std::string> keys_;   // of the entry being read
  SafetensorsEntry entry_;
  int offsets_ = 0;
  SafetensorsHeader header_;
};

std::string range(const SafetensorsEntry& entry) {
  return "[" + std::to_string(entry.begin) + ", " + std::to_string(entry.end) + ")";
}

// The bytes that dtype and shape need, or nothing when that is no possible size.
std::optional<uint64_t> needed_bytes(const SafetensorsEntry& entry) {
  uint64_t bytes = size_of(entry.dtype);
  bool fits = true;
  for (const int64_t size : entry.shape.dims()) {
    if (size == 0) return 0;
    fits = fits && !__builtin_mul_overflow(bytes, static_cast<uint64_t>(size), &bytes);
  }
  return fits ? std::optional(bytes) : std::nullopt;
}

}  // namespace

SafetensorsHeader parse_safetensors_header(std::string_view text, uint64_t data_bytes,
                                           const std::string& file) {
  const uint64_t data_start = safetensors_prefix_bytes + text.size();
  const auto fail = [&](const std::string& what) {
    throw Error(ErrorCode::corrupt, "'" + file + "' is no intact safetensors file: " + what);
  };
  SafetensorsHeader header = HeaderReader(text, file).read(text);

  for (const SafetensorsEntry& entry : header.entries) {
    const std::string tensor = "tensor " + in_quotes(entry.name) + " at " + range(entry) + " of the data";
    if (entry.begin > entry.end) fail(tensor + " ends before it begins");
    if (entry.end > data_bytes) {
      fail(tensor + " ends at byte " + std::to_string(entry.end) + " of the data, of which this file of " +
           std::to_string(data_start + data_bytes) + " bytes has " + std::to_string(data_bytes) +
           ": it was cut short or its header is damaged");
    }
    const std::optional<uint64_t> needed = needed_bytes(entry);
    if (!needed || *needed != entry.end - entry.begin) {
      fail(tensor + " has " + std::to_string(entry.end - entry.begin) + " bytes, but " +
           dtype_name(entry.dtype) + to_string(entry.shape) + " takes " +
           (needed ? std::to_string(*needed) : "more than memory can hold"));
    }
  }

  std::sort(header.entries.begin(), header.entries.end(), [](const auto& a, const auto& b) {
    return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
  });
  uint64_t reached = 0;
  for (const SafetensorsEntry& entry : header.entries) {
    if (entry.begin != reached) {
      fail("tensor " + in_quotes(entry.name) + " at " + range(entry) + " of the data " +
           (entry.begin < reached ? "overlaps the one before, which ends at "
                                  : "leaves a gap after the one before, which ends at ") +
           std::to_string(reached));
    }
    reached = entry.end;
  }
  if (reached != data_bytes) {
    fail(std::to_string(data_bytes - reached) + " bytes from byte " + std::to_string(data_start + reached) +
         " to the end of the file belong to no tensor");
  }
  return header;
}

std::string format_safetensors_header(const SafetensorsHeader& header) {
  nlohmann::ordered_json json = nlohmann::ordered_json::object();
  if (!header.metadata.empty()) json[metadata_key] = header.metadata;
  for (const SafetensorsEntry& entry : header.entries) {
    const std::vector<int64_t> shape(entry.shape.dims().begin(), entry.shape.dims().end());
    json[entry.name] = {
        {"dtype", name_of_dtype(entry.dtype)}, {"shape", shape}, {"data_offsets", {entry.begin, entry.end}}};
  }
  std::string text;
  try {
    text = json.dump();
  } catch (const nlohmann::json::type_error&) {
    throw Error(ErrorCode::invalid_argument, "a checkpoint's names and metadata must be UTF-8 text");
  }
  const uint64_t used = safetensors_prefix_bytes + text.size();
  text.append((data_alignment - used % data_alignment) % data_alignment, ' ');
  if (text.size() > safetensors_header_limit) {
    throw Error(ErrorCode::invalid_argument, "a checkpoint with a header of " + std::to_string(text.size()) +
                                                 " bytes exceeds the format's limit of " +
                                                 std::to_string(safetensors_header_limit));
  }
  std::string bytes;
  for (int i = 0; i < 8; ++i) bytes.push_back(static_cast<char>(uint64_t{text.size()} >> (8 * i) & 0xff));
  return bytes + text;
}

}  // namespace heddle::io
