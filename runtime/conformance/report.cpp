#include <algorithm>
#include <cctype>
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <string_view>
#include <utility>

#include "heddle/conformance.h"

namespace heddle::conformance {
namespace {

std::string number(double v) {
  char text[32];
  std::snprintf(text, sizeof(text), "%.3g", v);
  return text;
}

// Infinity has no JSON.
nlohmann::ordered_json json_number(double v) {
  if (std::isfinite(v)) return v;
  return nullptr;
}

std::string padded(std::string text, size_t width) {
  if (text.size() < width) text.append(width - text.size(), ' ');
  return text;
}
std::string right(const std::string& text, size_t width) {
  return text.size() < width ? std::string(width - text.size(), ' ') + text : text;
}

// Single quotes for a shell where needed.
std::string quoted(const std::string& word) {
  const bool plain = std::all_of(word.begin(), word.end(), [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) ||
           std::string_view("/.,:=_+-").find(c) != std::string_view::npos;
  });
  return plain && !word.empty() ? word : "'" + word + "'";
}

// Every reason once, with the ops it was given for.
std::string refusals_text(const std::vector<OpSummary>& summaries) {
  struct Reason {
    std::string text, ops;
    size_t cases = 0;
  };
  std::vector<Reason> reasons;
  for (const OpSummary& o : summaries)
    for (const OpSummary::Refusal& r : o.refusals) {
      auto at =
          std::find_if(reasons.begin(), reasons.end(), [&](const Reason& x) { return x.text == r.reason; });
      if (at == reasons.end()) {
        reasons.push_back({r.reason, o.op, r.cases});
        continue;
      }
      at->ops += ", " + o.op;
      at->cases += r.cases;
    }
  if (reasons.empty()) return "";
  std::string s = "\nUnsupported, in the device's words:\n";
  for (const Reason& r : reasons)
    s += right(std::to_string(r.cases), 8) + "  " + r.text + "\n          " + r.ops + "\n";
  return s;
}

}  // namespace

const char* outcome_name(Outcome outcome) {
  switch (outcome) {
    case Outcome::passed:
      return "passed";
    case Outcome::failed:
      return "failed";
    default:
      return "unsupported";
  }
}

size_t Report::count(Outcome outcome) const {
  return static_cast<size_t>(
      std::count_if(results.begin(), results.end(), [&](const Result& r) { return r.outcome == outcome; }));
}

bool Report::ok() const {
  // The contract's cases always run; beside refused ops they prove nothing about what the device computes.
  const auto is_contract = [](const Result& r) { return r.op == "contract"; };
  const bool only_contract = std::all_of(results.begin(), results.end(), is_contract);
  const bool executed = std::any_of(results.begin(), results.end(), [&](const Result& r) {
    return r.outcome == Outcome::passed && (only_contract || !is_contract(r));
  });
  return executed && count(Outcome::failed) == 0;
}

std::vector<OpSummary> Report::ops() const {
  std::vector<OpSummary> all;
  for (const Result& r : results) {
    auto at = std::find_if(all.begin(), all.end(), [&](const OpSummary& s) { return s.op == r.op; });
    if (at == all.end()) {
      at = all.insert(all.end(), OpSummary());
      at->op = r.op;
    }
    at->error = std::max(at->error, r.error);
    if (r.outcome == Outcome::passed) ++at->passed;
    if (r.outcome == Outcome::failed) ++at->failed;
    if (r.outcome != Outcome::unsupported) continue;
    ++at->unsupported;
    auto reason = std::find_if(at->refusals.begin(), at->refusals.end(),
                               [&](const OpSummary::Refusal& f) { return f.reason == r.reason; });
    if (reason == at->refusals.end()) reason = at->refusals.insert(at->refusals.end(), {r.reason, 0});
    ++reason->cases;
  }
  return all;
}

std::string Report::repro(const Result& result) const {
  return "heddle conform" + (plugin.empty() ? "" : " --plugin " + quoted(plugin)) + " --device " +
         quoted(device) + " --op " + result.op + " --case " + quoted(result.id);
}

std::string Report::text() const {
  std::string s = device + ": " + description + "\n\n";
  size_t width = 3;
  const std::vector<OpSummary> summaries = ops();
  for (const OpSummary& o : summaries) width = std::max(width, o.op.size());
  s += padded("op", width) + "   passed   failed   unsupported   largest error / bound\n";
  for (const OpSummary& o : summaries)
    s += padded(o.op, width) + right(std::to_string(o.passed), 9) + right(std::to_string(o.failed), 9) +
         right(std::to_string(o.unsupported), 14) + right(o.passed + o.failed ? number(o.error) : "-", 24) +
         "\n";

  s += refusals_text(summaries);
  bool heading = false;
  for (const Result& r : results) {
    if (r.outcome != Outcome::failed) continue;
    if (!std::exchange(heading, true)) s += "\nFailed:\n";
    s += "  " + r.id + (r.kernel.empty() ? "" : " (" + r.kernel + ")") + "\n    " + r.reason + "\n    " +
         repro(r) + "\n";
  }
  s += "\n" + std::to_string(count(Outcome::passed)) + " passed, " + std::to_string(count(Outcome::failed)) +
       " failed, " + std::to_string(count(Outcome::unsupported)) + " unsupported: ";
  if (ok()) return s + device + " conforms in what it offers\n";
  if (count(Outcome::failed) != 0) return s + device + " does not conform\n";
  return s + "not one case of an op ran, which proves nothing\n";
}

std::string Report::json() const {
  using Json = nlohmann::ordered_json;
  Json j;
  j["device"] = device;
  j["description"] = description;
  if (!plugin.empty()) j["plugin"] = plugin;
  j["passed"] = count(Outcome::passed);
  j["failed"] = count(Outcome::failed);
  j["unsupported"] = count(Outcome::unsupported);
  j["ok"] = ok();
  j["ops"] = Json::array();
  for (const OpSummary& o : ops()) {
    Json refusals = Json::array();
    for (const OpSummary::Refusal& r : o.refusals)
      refusals.push_back({{"reason", r.reason}, {"cases", r.cases}});
    j["ops"].push_back({{"op", o.op},
                        {"passed", o.passed},
                        {"failed", o.failed},
                        {"unsupported", o.unsupported},
                        {"error_over_bound", json_number(o.error)},
                        {"refusals", refusals}});
  }
  j["cases"] = Json::array();
  for (const Result& r : results) {
    Json one = {{"case", r.id}, {"outcome", outcome_name(r.outcome)}};
    if (!r.kernel.empty()) one["kernel"] = r.kernel;
    if (r.outcome != Outcome::unsupported) {
      one["exact"] = r.exact;
      one["error_over_bound"] = json_number(r.error);
    }
    if (!r.reason.empty()) one["reason"] = r.reason;
    if (r.outcome == Outcome::failed) one["repro"] = repro(r);
    j["cases"].push_back(std::move(one));
  }
  return j.dump(2) + "\n";
}

}  // namespace heddle::conformance
