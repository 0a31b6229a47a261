#include "heddle/trace.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "heddle/error.h"
#include "io/file.h"

namespace heddle {
namespace {

using nlohmann::json;

// Process rows of the document: wall-clock ones first, so that the viewer shows the two clocks apart.
constexpr int first_wall_process = 1;
constexpr int first_simulated_process = 1001;

json process_name(int process, const std::string& name) {
  return {{"ph", "M"}, {"name", "process_name"}, {"pid", process}, {"tid", 0}, {"args", {{"name", name}}}};
}

// The document is written event by event: a trace has many, and a tree of all of them would take ten times
// the space.
class EventArray {
 public:
  void add(const json& event) {
    text_ += empty_ ? "\n" : ",\n";
    text_ += event.dump(-1, ' ', false, json::error_handler_t::replace);
    empty_ = false;
  }
  const std::string& text() const { return text_; }

 private:
  std::string text_;
  bool empty_ = true;
};

[[noreturn]] void refuse_events(const std::string& device, const std::string& what) {
  throw Error(ErrorCode::device,
              "device '" + device + "' gave a trace that is no array of Chrome trace events: " + what);
}

std::vector<json> parse_events(const std::string& device, const std::string& text) {
  json events = json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (events.is_discarded()) refuse_events(device, "it is not JSON");
  if (!events.is_array()) refuse_events(device, "it is not an array");
  for (const json& event : events) {
    if (!event.is_object()) refuse_events(device, "it holds something that is no object");
    const auto phase = event.find("ph");
    if (phase == event.end() || !phase->is_string()) refuse_events(device, "an event has no phase 'ph'");
    const auto time = event.find("ts");
    if (*phase != "M" && (time == event.end() || !time->is_number())) {
      refuse_events(device, "an event has no time 'ts'");
    }
  }
  return std::move(events.get_ref<json::array_t&>());
}

}  // namespace

void Trace::add_span(std::string_view device, std::string_view name, std::string_view kernel,
                     uint64_t begin_ns, uint64_t end_ns) {
  wall_.push_back({std::string(device), std::string(name), std::string(kernel), begin_ns, end_ns});
}

void Trace::add_simulated(std::string_view device, std::string_view events_json, uint64_t duration_ps) {
  auto entry =
      std::find_if(simulated_.begin(), simulated_.end(), [&](const auto& s) { return s.name == device; });
  if (entry == simulated_.end()) {
    simulated_.push_back({std::string(device), {}, {}, 0});
    entry = std::prev(simulated_.end());
  }
  auto text = std::find(entry->events.begin(), entry->events.end(), events_json);
  if (text == entry->events.end()) text = entry->events.emplace(text, events_json);
  entry->launches.push_back({static_cast<size_t>(text - entry->events.begin()), entry->end_ps});
  entry->end_ps += duration_ps;
}

std::string Trace::json() const {
  EventArray events;

  // Wall clock: microseconds since the first span.
  std::vector<std::string> devices;
  uint64_t origin = ~uint64_t{0};
  for (const Span& span : wall_) {
    origin = std::min(origin, span.begin_ns);
    if (std::find(devices.begin(), devices.end(), span.device) == devices.end()) {
      devices.push_back(span.device);
      events.add(process_name(first_wall_process + static_cast<int>(devices.size()) - 1,
                              span.device + " (wall clock)"));
    }
  }
  for (const Span& span : wall_) {
    const auto device = std::find(devices.begin(), devices.end(), span.device) - devices.begin();
    events.add({{"ph", "X"},
                {"name", span.name},
                {"cat", "wall"},
                {"pid", first_wall_process + static_cast<int>(device)},
                {"tid", 1},
                {"ts", static_cast<double>(span.begin_ns - origin) / 1e3},
                {"dur", static_cast<double>(span.end_ns - std::min(span.begin_ns, span.end_ns)) / 1e3},
                {"args", {{"kernel", span.kernel}}}});
  }

  int process = first_simulated_process;
  for (const SimulatedDevice& device : simulated_) {
    events.add(process_name(process, device.name + " (simulated time)"));
    std::vector<std::vector<nlohmann::json>> parsed;
    for (const std::string& text : device.events) parsed.push_back(parse_events(device.name, text));
    std::set<std::string> said;  // metadata (names of tracks) of every launch is the same: once is enough
    uint64_t nth = 0;
    for (const Launch& launch : device.launches) {
      ++nth;
      for (nlohmann::json event : parsed[launch.events]) {
        event["pid"] = process;
        if (event["ph"] == "M") {
          if (event.value("name", nlohmann::json()) == "process_name" || !said.insert(event.dump()).second)
            continue;
        } else {
          event["ts"] = event["ts"].get<double>() + static_cast<double>(launch.start_ps) / 1e6;
          // Arrows are told apart by number, also those of another launch.
          if (const auto id = event.find("id"); id != event.end() && id->is_number_unsigned())
            *id = id->get<uint64_t>() + (nth << 33);
        }
        events.add(event);
      }
    }
    ++process;
  }
  return "{\"displayTimeUnit\":\"ns\",\"traceEvents\":[" + events.text() + "\n]}\n";
}

void Trace::save(const std::string& file) const {
  const std::string document = json();
  io::FileReplacement replacement(file);
  replacement.write(document);
  replacement.commit();
}

}  // namespace heddle
