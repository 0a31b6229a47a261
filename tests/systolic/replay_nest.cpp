// Loop nests of one's own: what the format means, what the policy does with it, and how mistakes are told.
#include <string>

#include "heddle/error.h"
#include "heddle/systolic/calibration.h"
#include "heddle/systolic/replay.h"
#include "tests/catch.h"

using namespace heddle;
using namespace heddle::systolic;
using heddle::test::ContainsSubstring;

namespace {

// out = x * w, rows of x in blocks, the same w for every block; `facts` and the declaration of w may vary.
std::string scaled(const std::string& facts = "", const std::string& body = "",
                   const std::string& w_tile = "512") {
  const std::string usual = R"(
    {"for": "i", "count": 8, "do": [
      {"op": "load", "out": "xt", "from": "x[128*i +: 128, :]"},
      {"op": "load", "out": "wt[i]", "from": "w[:, :]"},
      {"op": "tensor_tensor", "out": "yt", "in": ["xt", "wt[i]"], "alu": "multiply"},
      {"op": "store", "in": "yt", "to": "out[128*i +: 128, :]"}]})";
  return R"({
    "name": "scaled", "source": "a test", "device": "trn1",
    "hbm": {"x": "float32 [1024, 512]", "w": "float32 [128, 512]", "out": "float32 [1024, 512]"},
    "tiles": {"xt": "sbuf float32 [128, 512] each i", "wt": "sbuf float32 [128, )" +
         w_tile + R"(]", "yt": "sbuf float32 [128, 512] each i"},
    "body": [)" +
         (body.empty() ? usual : body) + R"(],
    "facts": [)" +
         facts + "]}";
}

constexpr int64_t tile_bytes = 128 * 512 * 4;

ReplayResult run(const std::string& text, ReplayLevel level,
                 const Description& device = load_description("trn1")) {
  return replay_kernel(parse_kernel(text, "test.json"), device, level);
}

std::string message_of(const std::string& text) {
  try {
    run(text, ReplayLevel::as_written);
  } catch (const Error& e) {
    return e.what();
  }
  return "no error";
}

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  const size_t at = text.find(from);
  REQUIRE(at != std::string::npos);
  return text.replace(at, from.size(), to);
}

}  // namespace

TEST_CASE("as written, what does not change is loaded once; as executed, what the facts say",
          "[systolic][replay]") {
  CHECK(run(scaled(), ReplayLevel::as_written).hbm_read_bytes == 9 * tile_bytes);
  CHECK(run(scaled(), ReplayLevel::as_executed).hbm_read_bytes == 16 * tile_bytes);
  const std::string hoisted = R"({"hoist": "wt", "in": "i", "because": "a test"})";
  CHECK(run(scaled(hoisted), ReplayLevel::as_executed).hbm_read_bytes == 9 * tile_bytes);
  CHECK(run(scaled(hoisted), ReplayLevel::as_executed).hbm_write_bytes == 8 * tile_bytes);
}

TEST_CASE("a hoisted tile can be loaded again in every iteration", "[systolic][replay]") {
  const std::string facts = R"({"hoist": "wt", "in": "i", "because": "a test"},
    {"reload": "wt", "in": "i", "because": "a test"})";
  CHECK(run(scaled(facts), ReplayLevel::as_executed).hbm_read_bytes == 16 * tile_bytes);
}

TEST_CASE("a fact holds only where its condition does", "[systolic][replay]") {
  // Two sums over four iterations of k; that of j = 1 leaves memory between them: three times out, three
  // times back.
  const std::string text = R"({
    "name": "sums", "source": "a test", "device": "trn1",
    "hbm": {"x": "float32 [128, 512]", "out": "float32 [2, 128, 512]"},
    "tiles": {"xt": "sbuf float32 [128, 512] each j", "sum": "sbuf float32 [128, 512]"},
    "body": [
      {"for": "k", "count": 4, "do": [
        {"for": "j", "count": 2, "do": [
          {"op": "memset", "out": "sum[j]", "value": 0, "mask": {"columns": "512 - 512*k"}},
          {"op": "load", "out": "xt", "from": "x[:, :]"},
          {"op": "tensor_tensor", "out": "sum[j]", "in": ["sum[j]", "xt"], "alu": "add"}]}]},
      {"for": "e", "count": 2, "do": [{"op": "store", "in": "sum[e]", "to": "out[e, :, :]"}]}],
    "facts": [{"spill": "sum", "in": "k", "when": "j - 1", "stays_after": true, "because": "a test"}]})";
  const ReplayResult r = run(text, ReplayLevel::as_executed);
  CHECK(r.spill_save_bytes == 3 * tile_bytes);
  CHECK(r.spill_reload_bytes == 3 * tile_bytes);
  CHECK(r.hbm_write_bytes == 5 * tile_bytes);
  CHECK(run(text, ReplayLevel::as_written).spill_save_bytes == 0);
}

TEST_CASE("where SBUF is too small, values leave it and the kernel still runs", "[systolic][replay]") {
  // Forty blocks are read twice: they fit 192 KiB, not 32.
  const std::string text = R"({
    "name": "twice", "source": "a test", "device": "trn1",
    "hbm": {"x": "float32 [5120, 512]", "out": "float32 [2, 5120, 512]"},
    "tiles": {"xt": "sbuf float32 [128, 512]", "yt": "sbuf float32 [128, 512] each i"},
    "body": [
      {"for": "p", "count": 2, "do": [
        {"for": "i", "count": 40, "do": [
          {"op": "load", "out": "xt[p, i]", "from": "x[128*i +: 128, :]"},
          {"op": "activation", "out": "yt", "in": "xt[p, i]", "function": "exp"},
          {"op": "store", "in": "yt", "to": "out[p, 128*i +: 128, :]"}]}]}]})";
  CHECK(run(text, ReplayLevel::as_written).hbm_read_bytes == 40 * tile_bytes);
  Description small = load_description("trn1");
  small.sbuf.kib = 32;
  CHECK(run(text, ReplayLevel::as_written, small).hbm_read_bytes == 80 * tile_bytes);
  small.sbuf.kib = 1;
  CHECK_THROWS_WITH(run(text, ReplayLevel::as_written, small), ContainsSubstring("does not fit"));
}

TEST_CASE("a mask limits rows or columns, and a statement without any left does nothing",
          "[systolic][replay]") {
  const std::string body = R"(
    {"for": "i", "count": 9, "do": [
      {"op": "load", "out": "xt", "from": "x[128*i +: 128, :]", "mask": {"rows": "1000 - 128*i"}},
      {"op": "store", "in": "xt", "to": "out[128*i +: 128, :]", "mask": {"rows": "1000 - 128*i"}}]})";
  const ReplayResult r = run(scaled("", body), ReplayLevel::as_written);
  CHECK(r.hbm_read_bytes == 1000 * 512 * 4);
  CHECK(r.hbm_write_bytes == 1000 * 512 * 4);
}

TEST_CASE("mistakes in a replay file name the file, the place and what is wrong", "[systolic][replay]") {
  const std::string good = scaled();
  CHECK_THAT(message_of("{\n\"name\": \n}"), ContainsSubstring("test.json, line 3"));
  CHECK_THAT(message_of(replaced(good, "\"op\": \"store\"", "\"op\": \"stor\"")),
             ContainsSubstring("/body/0/do/3/op: there is no op 'stor'"));
  CHECK_THAT(
      message_of(replaced(good, "x[128*i +: 128, :]", "x[128*j +: 128, :]")),
      ContainsSubstring("/body/0/do/0/from: 'j' in 'x[128*j +: 128, :]' is no loop around this statement"));
  CHECK_THAT(message_of(replaced(good, "x[128*i +: 128, :]", "x[128*i +: 128]")),
             ContainsSubstring("has 1 ranges, the value 2 dimensions"));
  CHECK_THAT(message_of(replaced(good, "\"xt\", \"wt[i]\"", "\"xt\", \"vt[i]\"")),
             ContainsSubstring("/body/0/do/2/in/1: there is no tile 'vt'"));
  CHECK_THAT(message_of(replaced(good, "float32 [1024, 512]", "float31 [1024, 512]")),
             ContainsSubstring("'float31' is no dtype"));
  CHECK_THAT(message_of(replaced(good, "\"count\": 8", "\"count\": 0")), ContainsSubstring("/body/0/count"));
  CHECK_THAT(message_of(replaced(good, "\"alu\": \"multiply\"", "\"alu\": \"times\"")),
             ContainsSubstring("'times' is no operator"));
  CHECK_THAT(message_of(replaced(good, "\"in\": [\"xt\", \"wt[i]\"]", "\"in\": \"xt\"")),
             ContainsSubstring("must be a list of 2 tiles"));
  CHECK_THAT(message_of(replaced(good, "\"device\": \"trn1\"", "\"devise\": \"trn1\"")),
             ContainsSubstring("/devise: is not a key here"));
  // What the machine refuses names the statement, too.
  CHECK_THAT(message_of(scaled("", "", "500")), ContainsSubstring("load wt at /body/0/do/1"));
  CHECK_THROWS_WITH(load_kernel("no_such_kernel"), ContainsSubstring("there are adamw"));
  CHECK_THROWS_WITH(load_kernel("no/such/file.json"), ContainsSubstring("cannot be opened"));
}

TEST_CASE("only devices with published rows can be calibrated", "[systolic][replay]") {
  CHECK_THROWS_WITH(calibrate("trn3"), ContainsSubstring("nothing was published to calibrate 'trn3'"));
}
