// Conformance: proves a device against the double-precision references, op by op.
//
//   heddle::conformance::Report report = heddle::conformance::run(heddle::Device::open("toy"));
//   std::puts(report.text().c_str());
//   return report.ok() ? 0 : 1;
//
// Every op of the catalogue has a fixed list of cases: odd shapes (1, primes, 127, 128, 129, no elements at
// all), every dtype, every attribute, special values. A case is offered to the device exactly as it is, never
// as its parts, and it ends in one of three ways:
//   passed: the device offered it, and every element is within the bound of the op's schema;
//   failed: an element is not, or the device broke a promise: it offered the case and did not run it;
//   unsupported: the device refused it, and said why. Never counted as passed.
// The bound is heddle::Accuracy's, element by element; there is no norm in which one wrong element can hide.
// Exact ops, and sums filled with small integers, which no order of summation rounds, are compared bit for
// bit. Cases called contract/... prove what device_abi.h asks of every device: copies, memory, streams,
// bindings.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "heddle/device.h"

namespace heddle::conformance {

enum class Outcome : uint8_t { passed, failed, unsupported };

// "passed"
const char* outcome_name(Outcome outcome);

struct Result {
  std::string id;  // "softmax/f32/128x129/axis1": the same in every version of the kit
  std::string op;  // "softmax"
  Outcome outcome = Outcome::failed;
  // failed: what is wrong, where and by how much; unsupported: the device's words.
  std::string reason;
  std::string kernel;  // what the device says ran it: "cpu.softmax"
  bool exact = false;  // was compared bit for bit
  double error = 0;    // largest |got - ref| in units of the bound: 1 is the most that passes
};

// Results of one op.
struct OpSummary {
  std::string op;
  size_t passed = 0, failed = 0, unsupported = 0;
  double error = 0;  // the largest of its cases
  struct Refusal {
    std::string reason;
    size_t cases = 0;
  };
  std::vector<Refusal> refusals;  // the device's reasons, in order of first use
};

struct Report {
  std::string device;       // as it was opened: "cpu:threads=1"
  std::string description;  // "AMD EPYC, 2 threads, AVX-512"
  std::string plugin;       // the library it was loaded from; empty for built-in devices
  std::vector<Result> results;

  size_t count(Outcome outcome) const;
  // At least one op was executed, and nothing failed: a run of no cases proves nothing.
  bool ok() const;
  std::vector<OpSummary> ops() const;
  // The command that repeats one case alone.
  std::string repro(const Result& result) const;
  // For people: a line per op, the refusals with their reasons, and each failure with its repro.
  std::string text() const;
  // One document: {"device", "passed", "failed", "unsupported", "ok", "ops": [...], "cases": [...]}; an
  // infinite error is null.
  std::string json() const;
};

// Which cases: all, those of one op, or one.
struct Selection {
  std::string op;  // empty: every op
  std::string id;  // empty: every case
  // Called after each case; may be empty.
  std::function<void(const Result&, size_t done, size_t total)> progress;
};

struct CaseName {
  std::string id;
  std::string op;
};

// The cases in the order they run. Throws not_found for an op or a case that does not exist, naming the
// nearest ones.
std::vector<CaseName> list_cases(const Selection& selection = {});

// Runs them. What a device throws, returns or writes becomes a Result; only a bad selection
// throws, and a device that computes nothing (invalid_argument). Threads:
// the device must not be in use by anyone else while the cases about its memory run.
Report run(const Device& device, const Selection& selection = {});

// How many of an op's cases a device offers, found by asking alone: nothing is compiled or run, so nothing is
// proved.
struct OfferCount {
  std::string op;
  size_t offered = 0, cases = 0;
  std::string reason;  // of the refusal that comes most often; empty when there is none
};

// One entry per op, in the order of the cases. Throws what list_cases() throws.
std::vector<OfferCount> count_offers(const Device& device, const Selection& selection = {});

}  // namespace heddle::conformance
