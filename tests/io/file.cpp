// Replacing a file leaves the old contents or the new ones, whatever happens on the way.
#include "io/file.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <random>
#include <thread>

#include "heddle/checkpoint.h"
#include "tests/expect_error.h"
#include "tests/property.h"
#include "tests/temporary_folder.h"

using namespace heddle;
using heddle::test::expect_error;
using heddle::test::TemporaryFolder;

namespace {

constexpr uint64_t no_limit = uint64_t{1} << 30;

void replace(const std::string& file, const std::string& contents) {
  io::FileReplacement replacement(file);
  replacement.write(contents);
  replacement.commit();
}

}  // namespace

TEST_CASE("a replaced file has the new contents and nothing is left beside it", "[io]") {
  const TemporaryFolder folder;
  replace(folder / "f", "old");
  replace(folder / "f", "newer");
  CHECK(io::read_file(folder / "f", no_limit) == "newer");
  CHECK(folder.entries() == std::set<std::string>{"f"});
}

TEST_CASE("without commit the old file stays and nothing is left beside it", "[io]") {
  const TemporaryFolder folder;
  replace(folder / "f", "old");
  {
    io::FileReplacement replacement(folder / "f");
    replacement.write("half of the n");
  }
  CHECK(io::read_file(folder / "f", no_limit) == "old");
  CHECK(folder.entries() == std::set<std::string>{"f"});
  io::expect_replaceable(folder / "g");
  CHECK(folder.entries() == std::set<std::string>{"f"});
}

TEST_CASE("a link stays a link and permissions stay", "[io]") {
  const TemporaryFolder folder;
  std::filesystem::create_directory(folder / "elsewhere");
  replace(folder / "elsewhere/real", "old");
  REQUIRE(::chmod((folder / "elsewhere/real").c_str(), 0640) == 0);
  std::filesystem::create_symlink("elsewhere/real", folder / "link");
  replace(folder / "link", "new");
  CHECK(std::filesystem::is_symlink(folder / "link"));
  CHECK(io::read_file(folder / "elsewhere/real", no_limit) == "new");
  struct stat status {};
  REQUIRE(::stat((folder / "elsewhere/real").c_str(), &status) == 0);
  CHECK((status.st_mode & 0777) == 0640);
}

TEST_CASE("what cannot be written is refused before anything is", "[io]") {
  const TemporaryFolder folder;
  replace(folder / "f", "old");
  expect_error(ErrorCode::io, "No such file", [&] { io::expect_replaceable(folder / "no/such/folder/x"); });
  expect_error(ErrorCode::io, "Not a directory", [&] { io::expect_replaceable(folder / "f/x"); });
  expect_error(ErrorCode::io, "it is a folder", [&] { io::expect_replaceable(folder.path()); });
  expect_error(ErrorCode::io, "not a regular file", [] { io::expect_replaceable("/dev/null"); });
  expect_error(ErrorCode::io, "a file name is needed", [] { io::expect_replaceable(""); });
  if (::geteuid() != 0) {  // root may write anywhere
    ::chmod(folder.path().c_str(), 0500);
    expect_error(ErrorCode::io, "Permission denied", [&] { io::expect_replaceable(folder / "g"); });
    ::chmod(folder.path().c_str(), 0700);
  }
  CHECK(folder.entries() == std::set<std::string>{"f"});
}

TEST_CASE("reading stops at the limit and refuses folders", "[io]") {
  const TemporaryFolder folder;
  replace(folder / "f", std::string(100'000, 'x'));
  CHECK(io::read_file(folder / "f", 100'000).size() == 100'000);
  expect_error(ErrorCode::io, "longer than 99999 bytes", [&] { io::read_file(folder / "f", 99'999); });
  expect_error(ErrorCode::io, "longer than", [] { io::read_file("/dev/zero", 1000); });
  expect_error(ErrorCode::io, "Is a directory", [&] { io::read_file(folder.path(), no_limit); });
  CHECK(io::read_file("/dev/null", 0).empty());
}

TEST_CASE("a full disk is an error and the old checkpoint survives", "[io]") {
  const TemporaryFolder folder;
  Checkpoint checkpoint;
  checkpoint.tensors["t"] = Tensor::full(1, f32, {1000});
  save_checkpoint(folder / "c", checkpoint);
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {  // a limit on the size of files behaves like a full disk
    ::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{10'000, 10'000};
    ::setrlimit(RLIMIT_FSIZE, &limit);
    checkpoint.tensors["t"] = Tensor::full(2, f32, {100'000});
    int result = 1;
    try {
      save_checkpoint(folder / "c", checkpoint);
    } catch (const Error& e) {
      result = e.code() == ErrorCode::io ? 0 : 2;
    }
    ::_exit(result);
  }
  int status = -1;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK((WIFEXITED(status) && WEXITSTATUS(status) == 0));
  CHECK(load_checkpoint(folder / "c").tensors.at("t").at(999) == 1);
  CHECK(folder.entries() == std::set<std::string>{"c"});
}

TEST_CASE("killed while saving, a whole checkpoint survives", "[io]") {
  const TemporaryFolder folder;
  const std::string file = folder / "c";
  const uint64_t seed = test::property_seed();
  CAPTURE(seed);
  std::mt19937_64 random(seed);
  constexpr int64_t elements = 200'000;
  const auto checkpoint_of = [](double value) {
    Checkpoint checkpoint;
    for (const char* name : {"a", "b", "c"}) checkpoint.tensors[name] = Tensor::full(value, f32, {elements});
    checkpoint.metadata["value"] = std::to_string(static_cast<int>(value));
    return checkpoint;
  };
  save_checkpoint(file, checkpoint_of(0));
  for (int round = 0; round < 20; ++round) {
    const pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
      for (int i = 0;; ++i) save_checkpoint(file, checkpoint_of(i % 2));
    }
    std::this_thread::sleep_for(std::chrono::microseconds(test::draw(random, 500, 20'000)));
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
    const Checkpoint survivor = load_checkpoint(file);
    const double value = std::stod(survivor.metadata.at("value"));
    REQUIRE(survivor.tensors.size() == 3);
    for (const auto& [name, tensor] : survivor.tensors) {
      CAPTURE(name, round);
      const auto values = tensor.values<float>();
      CHECK(
          std::all_of(values.begin(), values.end(), [&](float v) { return v == static_cast<float>(value); }));
    }
  }
}
