// heddle devices: what graphs can run on here.
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "cli/command.h"
#include "cli/device_options.h"
#include "cli/output.h"
#include "heddle/device.h"
#include "heddle/error.h"
#include "plan/text_table.h"

namespace heddle::cli {
namespace {

struct Options {
  DeviceOptions devices;
  bool json = false;
};

struct Row {
  std::string name, backend, version, library;
  Device device;           // none when it does not open
  std::string error;       // why
  bool is_family = false;  // it opens with options alone: systolic:FILE.toml
};

Row open_row(const DeviceListing& listing) {
  Row row{listing.name, listing.backend, listing.version, listing.library, {}, {}};
  try {
    row.device = Device::open(listing.name);
  } catch (const Error& e) {  // the others are worth listing
    row.error = e.what();
    row.is_family = e.code() == ErrorCode::invalid_argument;
  }
  return row;
}

std::vector<Row> rows_of(const Options& options) {
  std::vector<Row> rows;
  const std::vector<DeviceListing> listed = list_devices();
  if (options.devices.devices.empty()) {
    for (const DeviceListing& listing : listed) rows.push_back(open_row(listing));
    return rows;
  }
  for (const Device& device : open_devices(options.devices.devices)) {
    Row row{device.spec(), "", "", "", device, ""};
    const std::string name = device.spec().substr(0, device.spec().find(':'));
    for (const DeviceListing& listing : listed) {
      if (listing.name != name) continue;
      row.backend = listing.backend;
      row.version = listing.version;
      row.library = listing.library;
    }
    rows.push_back(row);
  }
  return rows;
}

const char* clock_name(const Device& device) {
  return device.clock() == Clock::simulated ? "simulated" : "wall";
}

nlohmann::ordered_json document_of(const std::vector<Row>& rows) {
  nlohmann::ordered_json devices = nlohmann::ordered_json::array();
  for (const Row& row : rows) {
    nlohmann::ordered_json entry = {
        {"name", row.name}, {"backend", row.backend}, {"version", row.version}, {"library", row.library}};
    if (row.device) {
      entry["description"] = row.device.description();
      entry["clock"] = clock_name(row.device);
      entry["memory_bytes"] = row.device.memory_bytes();
    } else {
      entry["error"] = row.error;
    }
    devices.push_back(entry);
  }
  return {{"devices", devices}};
}

std::string table_of(const std::vector<Row>& rows) {
  plan::TextTable table(
      {{"device"}, {"backend"}, {"clock"}, {"memory", plan::TextTable::Align::right}, {"description"}});
  for (const Row& row : rows) {
    const std::string backend = row.backend + " " + row.version;
    if (row.device) {
      const auto bytes = static_cast<double>(row.device.memory_bytes());
      table.row({row.name, backend, clock_name(row.device), bytes > 0 ? plan::bytes_text(bytes) : "-",
                 row.device.description()});
    } else {
      table.row({row.name, backend, "-", "-",
                 (row.is_family ? "opens with options: " : "does not open: ") + row.error});
    }
    if (!row.library.empty()) table.note("    from " + row.library);
  }
  return table.text();
}

void run(const Options& options) {
  load_plugins(options.devices);
  const std::vector<Row> rows = rows_of(options);
  options.json ? print_document(document_of(rows)) : print(table_of(rows));
}

}  // namespace

void add_devices(CLI::App& app) {
  CLI::App* command = app.add_subcommand("devices", "List the devices that graphs can run on");
  auto options = std::make_shared<Options>();
  add_device_options(*command, options->devices, "Show this device alone (repeatable); default: all");
  command->add_flag("--json", options->json, "Print one JSON document");
  command->footer("Example: heddle devices --device cpu:threads=1 --device trn1");
  command->callback([options] { run(*options); });
}

}  // namespace heddle::cli
