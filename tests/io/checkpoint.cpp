// Checkpoints come back bit for bit, and no damaged file is taken for a checkpoint.
#include "heddle/checkpoint.h"

#include <cmath>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "heddle/error.h"
#include "io/file.h"
#include "tests/expect_error.h"
#include "tests/property.h"
#include "tests/temporary_folder.h"

using namespace heddle;
using heddle::test::expect_error;
using heddle::test::TemporaryFolder;

namespace {

void write_bytes(const std::string& file, const std::string& bytes) {
  io::FileReplacement replacement(file);
  replacement.write(bytes);
  replacement.commit();
}

std::string read_bytes(const std::string& file) { return io::read_file(file, uint64_t{1} << 30); }

// The bytes of a file with this header text and these data bytes.
std::string file_with(const std::string& header, const std::string& data) {
  std::string bytes;
  for (int i = 0; i < 8; ++i) bytes.push_back(static_cast<char>(header.size() >> (8 * i) & 0xff));
  return bytes + header + data;
}

std::string bytes_of(const Tensor& tensor) {
  const Tensor dense = tensor.contiguous();
  return {static_cast<const char*>(dense.data()), static_cast<size_t>(dense.bytes())};
}

Checkpoint small_checkpoint() {
  Checkpoint checkpoint;
  checkpoint.tensors["w"] = Tensor::of<float>({1, -2, 3.5, 4, 5, 6}, {2, 3});
  checkpoint.tensors["step"] = Tensor::of<int64_t>({12}, {});
  checkpoint.tensors["mask"] = Tensor::of<uint8_t>({1, 0, 1}, {3});
  checkpoint.metadata = {{"made by", "a \"test\"\n"}, {"", "empty key"}};
  return checkpoint;
}

bool same(const Checkpoint& a, const Checkpoint& b) {
  if (a.metadata != b.metadata || a.tensors.size() != b.tensors.size()) return false;
  for (const auto& [name, tensor] : a.tensors) {
    const auto other = b.tensors.find(name);
    if (other == b.tensors.end() || other->second.dtype() != tensor.dtype() ||
        !(other->second.shape() == tensor.shape()) || bytes_of(other->second) != bytes_of(tensor)) {
      return false;
    }
  }
  return true;
}

}  // namespace

TEST_CASE("a checkpoint of every dtype comes back bit for bit", "[io]") {
  const TemporaryFolder folder;
  const uint64_t seed = test::property_seed();
  CAPTURE(seed);
  std::mt19937_64 random(seed);
  Checkpoint saved;
  for (const DType dtype : all_dtypes) {
    for (const Shape& shape :
         {Shape{}, Shape{0}, Shape{3, 0, 2}, Shape{1}, Shape{5, 7}, Shape{1, 2, 1, 2, 1, 2, 1, 3}}) {
      Tensor tensor(dtype, shape);
      for (int64_t i = 0; i < static_cast<int64_t>(tensor.bytes()); ++i) {
        auto byte = static_cast<unsigned char>(random());
        if (dtype == DType::boolean) byte &= 1;
        std::memcpy(static_cast<char*>(tensor.data()) + i, &byte, 1);
      }
      saved.tensors[std::string(dtype_name(dtype)) + to_string(shape)] = tensor;
    }
  }
  saved.tensors["a/b\\c \"d\" \xc3\xa9\t"] = Tensor::scalar(1);
  saved.tensors[""] = Tensor::scalar(2);
  saved.metadata["step"] = "12";
  save_checkpoint(folder / "all.safetensors", saved);
  CHECK(same(load_checkpoint(folder / "all.safetensors"), saved));
}

TEST_CASE("a checkpoint without tensors is one", "[io]") {
  const TemporaryFolder folder;
  save_checkpoint(folder / "none", {});
  CHECK(same(load_checkpoint(folder / "none"), {}));
}

TEST_CASE("a view is saved as the dense tensor it shows", "[io]") {
  const TemporaryFolder folder;
  Checkpoint checkpoint;
  const int64_t order[] = {1, 0};
  checkpoint.tensors["t"] = Tensor::of<float>({1, 2, 3, 4, 5, 6}, {2, 3}).transpose(order);
  save_checkpoint(folder / "view", checkpoint);
  const Tensor loaded = load_checkpoint(folder / "view").tensors.at("t");
  REQUIRE(loaded.shape() == Shape{3, 2});
  const std::vector<float> values(loaded.values<float>().begin(), loaded.values<float>().end());
  CHECK(values == std::vector<float>{1, 4, 2, 5, 3, 6});
}

TEST_CASE("the file is the format's, byte by byte", "[io]") {
  const TemporaryFolder folder;
  Checkpoint checkpoint;
  checkpoint.tensors["b"] = Tensor::of<uint8_t>({7, 8}, {2});
  checkpoint.tensors["a"] = Tensor::of<uint8_t>({9}, {1});
  checkpoint.tensors["w"] = Tensor::of<float>({1}, {1, 1});
  checkpoint.metadata["k"] = "v";
  save_checkpoint(folder / "f", checkpoint);
  std::string header =
      R"({"__metadata__":{"k":"v"},"w":{"dtype":"F32","shape":[1,1],"data_offsets":[0,4]},)"
      R"("a":{"dtype":"U8","shape":[1],"data_offsets":[4,5]},"b":{"dtype":"U8","shape":[2],"data_offsets":[5,7]}})";
  header.append((64 - (header.size() + 8) % 64) % 64, ' ');
  CHECK(read_bytes(folder / "f") == file_with(header, std::string("\0\0\x80\x3f\x09\x07\x08", 7)));
}

TEST_CASE("a file cut short anywhere is refused", "[io]") {
  const TemporaryFolder folder;
  save_checkpoint(folder / "whole", small_checkpoint());
  const std::string whole = read_bytes(folder / "whole");
  for (size_t length = 0; length < whole.size(); ++length) {
    CAPTURE(length);
    write_bytes(folder / "cut", whole.substr(0, length));
    expect_error(ErrorCode::corrupt, "cut' is no intact safetensors file",
                 [&] { load_checkpoint(folder / "cut"); });
  }
  write_bytes(folder / "longer", whole + '\0');
  expect_error(ErrorCode::corrupt, "1 bytes from byte", [&] { load_checkpoint(folder / "longer"); });
}

// A changed byte in the header may give another valid header (a letter of a name), never a crash, a foreign
// exception or an unsound tensor; changed data is data.
TEST_CASE("any changed byte gives an error or a sound checkpoint", "[io]") {
  const TemporaryFolder folder;
  save_checkpoint(folder / "whole", small_checkpoint());
  const std::string whole = read_bytes(folder / "whole");
  const uint64_t seed = test::property_seed();
  CAPTURE(seed);
  std::mt19937_64 random(seed);
  int refused = 0;
  for (size_t at = 0; at < whole.size(); ++at) {
    for (int attempt = 0; attempt < 6; ++attempt) {
      std::string damaged = whole;
      const char replacements[] = {'\0', '"', '}', '9', '\xff', static_cast<char>(random())};
      damaged[at] = replacements[attempt];
      CAPTURE(at, attempt);
      write_bytes(folder / "damaged", damaged);
      try {
        for (const auto& [name, tensor] : load_checkpoint(folder / "damaged").tensors) {
          CHECK(tensor.bytes() <= whole.size());
          CHECK_FALSE(to_string(tensor).empty());  // reads the elements
        }
      } catch (const Error& e) {
        CHECK(e.code() == ErrorCode::corrupt);
        ++refused;
      }
    }
  }
  CHECK(refused > 300);
}

TEST_CASE("headers that lie are refused with what is wrong", "[io]") {
  const TemporaryFolder folder;
  const std::string file = folder / "bad";
  const auto refuses = [&](const std::string& header, const std::string& data, const std::string& why) {
    CAPTURE(header);
    write_bytes(file, file_with(header, data));
    const std::string text = expect_error(ErrorCode::corrupt, why, [&] { load_checkpoint(file); });
    CHECK(text.find('\n') == std::string::npos);
  };
  const auto entry = [](const std::string& shape, const std::string& offsets) {
    return R"({"a":{"dtype":"F32","shape":)" + shape + R"(,"data_offsets":)" + offsets + "}}";
  };
  const std::string four(4, '\0'), eight(8, '\0');

  SECTION("not a header at all") {
    refuses("", "", "does not begin with '{'");
    refuses("[]", "", "does not begin with '{'");
    refuses(" {}", "", "does not begin with '{'");
    refuses("{", "", "not a JSON object");
    refuses("{}x", "", "at byte 10, the header is not a JSON object");
    refuses("{\"\xff\":1}", "", "UTF-8");
    refuses(std::string("{}\0", 3), "", "at byte 10, the header has a zero byte");
    refuses(std::string(100'000, '{'), "", "not a JSON object");
    refuses(R"({"a":)" + std::string(100'000, '['), "", "an array does not belong there");
  }
  SECTION("entries of the wrong kind") {
    refuses(R"({"a":1})", "", "at byte 14, a number does not belong there (after 'a')");
    refuses(R"({"a":null})", "", "null does not belong");
    refuses(R"({"a":{}})", "", "has no dtype");
    refuses(R"({"a":{"dtype":"F32"}})", "", "has no shape");
    refuses(R"({"a":{"dtype":"F32","shape":[]}})", "", "has no data_offsets");
    refuses(R"({"a":{"dtype":"F32","shape":[],"data_offsets":[0,4],"extra":1}})", four,
            "'extra', which is no part");
    refuses(R"({"a":{"dtype":"F31","shape":[],"data_offsets":[0,4]}})", four,
            "'F31', which Heddle does not know");
    refuses(R"({"a":{"dtype":4,"shape":[],"data_offsets":[0,4]}})", four, "a number does not belong");
    refuses(R"({"a":{"dtype":"F32","shape":[],"shape":[],"data_offsets":[0,4]}})", four,
            "'shape' is given twice");
    refuses(R"({"__metadata__":{"a":1}})", "", "a number does not belong");
    refuses(R"({"__metadata__":{"a":"x","a":"y"}})", "", "'a' is given twice");
    refuses(R"({"__metadata__":[]})", "", "an array does not belong");
    refuses(entry("[]", "[0]"), four, "1 data_offsets, not 2");
    refuses(entry("[]", "[0,4,4]"), four, "a third offset");
    refuses(entry("[[1]]", "[0,4]"), four, "an array does not belong");
    refuses(R"({"a\nb":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}})", four, "'a?b'");
  }
  SECTION("two entries of one name") {
    refuses(
        R"({"a":{"dtype":"F32","shape":[],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[],"data_offsets":[4,8]}})",
        eight, "two entries are named 'a'");
  }
  SECTION("impossible sizes") {
    refuses(entry("[-1]", "[0,4]"), four, "a negative number");
    refuses(entry("[1.0]", "[0,4]"), four, "not a whole one");
    refuses(entry("[1e3]", "[0,4]"), four, "not a whole one");
    refuses(entry("[2]", "[0,4]"), four, "has 4 bytes, but float32[2] takes 8");
    refuses(entry("[1,1,1,1,1,1,1,1,1]", "[0,4]"), four, "more than 8 dimensions");
    refuses(entry("[4611686018427387904,4]", "[0,4]"), four, "more than memory can hold");
    refuses(entry("[4294967296,4294967296]", "[0,0]"), "", "more than memory can hold");
    refuses(entry("[9223372036854775807]", "[0,4]"), four, "a size beyond 2^62");
    refuses(entry("[99999999999999999999999]", "[0,4]"), four, "not a whole one");
  }
  SECTION("impossible places") {
    refuses(entry("[1]", "[4,0]"), eight, "ends before it begins");
    refuses(entry("[1]", "[0,18446744073709551615]"), four, "ends at byte 18446744073709551615 of the data");
    refuses(entry("[2]", "[0,8]"), four, "was cut short");
    refuses(entry("[1]", "[4,8]"), eight, "leaves a gap");
    refuses(entry("[1]", "[0,4]"), eight, "belong to no tensor");
    refuses(
        R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})",
        eight, "overlaps");
    refuses(
        R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})",
        four, "overlaps");
  }
  SECTION("a bool that is neither") {
    refuses(R"({"a":{"dtype":"BOOL","shape":[3],"data_offsets":[0,3]}})", std::string("\1\0\2", 3),
            "byte 65, in a bool tensor, is neither 0 nor 1");
  }
}

TEST_CASE("a header length beyond the file or the format's limit is refused without being believed", "[io]") {
  const TemporaryFolder folder;
  const auto with_length = [&](uint64_t length) {
    std::string bytes;
    for (int i = 0; i < 8; ++i) bytes.push_back(static_cast<char>(length >> (8 * i) & 0xff));
    return bytes + "{}";
  };
  for (const uint64_t length :
       {uint64_t{3}, uint64_t{1} << 32, uint64_t{1} << 63, ~uint64_t{0}, ~uint64_t{7}}) {
    write_bytes(folder / "huge", with_length(length));
    expect_error(ErrorCode::corrupt, std::to_string(length) + " bytes, but only 2 follow",
                 [&] { load_checkpoint(folder / "huge"); });
  }
  // A sparse file that is really that long.
  write_bytes(folder / "sparse", with_length(200'000'000));
  std::filesystem::resize_file(folder / "sparse", 300'000'000);
  expect_error(ErrorCode::corrupt, "exceeds the format's limit", [&] { load_checkpoint(folder / "sparse"); });
}

TEST_CASE("checkpoints that cannot be written are refused and write nothing", "[io]") {
  const TemporaryFolder folder;
  const std::string file = folder / "f";
  Checkpoint checkpoint;
  checkpoint.tensors["t"] = Tensor();
  expect_error(ErrorCode::invalid_argument, "'t' is no tensor", [&] { save_checkpoint(file, checkpoint); });
  checkpoint.tensors = {{"__metadata__", Tensor::scalar(1)}};
  expect_error(ErrorCode::invalid_argument, "__metadata__", [&] { save_checkpoint(file, checkpoint); });
  checkpoint.tensors = {{"\xff", Tensor::scalar(1)}};
  expect_error(ErrorCode::invalid_argument, "UTF-8", [&] { save_checkpoint(file, checkpoint); });
  CHECK(folder.entries().empty());
}

TEST_CASE("what is no readable file is an io error that names it", "[io]") {
  const TemporaryFolder folder;
  expect_error(ErrorCode::io, "missing': No such file", [&] { load_checkpoint(folder / "missing"); });
  expect_error(ErrorCode::io, "it is a folder", [&] { load_checkpoint(folder.path()); });
  expect_error(ErrorCode::io, "not a regular file", [&] { load_checkpoint("/dev/zero"); });
  expect_error(ErrorCode::io, "''", [&] { load_checkpoint(""); });
}
