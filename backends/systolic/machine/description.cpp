#include "heddle/systolic/description.h"

#include <toml++/toml.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <fstream>
#include <set>
#include <sstream>

#include "heddle/error.h"
#include "heddle/systolic/operation.h"
#include "systolic/devices/builtin.h"

namespace heddle::systolic {
namespace {

[[noreturn]] void fail(const std::string& text) { throw Error(ErrorCode::invalid_argument, text); }

// One file of a chain: a device file, then the base it names, and so on. A key is looked up in this order.
struct Layer {
  toml::table table;
  std::string source;

  std::string at(const toml::node& node) const {
    const auto line = node.source().begin.line;
    return line == 0 ? source + ": " : source + ":" + std::to_string(line) + ": ";
  }
};
using Layers = std::vector<Layer>;

// Reads a device strictly: every key must be known, present and of the right type.
class Reader {
 public:
  explicit Reader(const Layers& layers) : layers_(layers) {}

  // Keys of one section; `finish` refuses those nobody asked for.
  class Section {
   public:
    Section(const Reader& reader, std::string name) : name_(std::move(name)) {
      for (const Layer& layer : reader.layers_) {
        const toml::node* node = name_.empty() ? &layer.table : layer.table.get(name_);
        if (node == nullptr) continue;
        if (!node->is_table()) fail(layer.at(*node) + "'" + name_ + "' must be a section");
        tables_.push_back({node->as_table(), &layer});
      }
      if (tables_.empty()) fail(reader.layers_.front().source + ": section [" + name_ + "] is missing");
    }
    Section(const Section&) = delete;
    Section& operator=(const Section&) = delete;

    double number(const char* key, double low, double high = 1e12) {
      return number(need(key), path(key), low, high);
    }
    void read(const char* key, double& out, double low = 0) { out = number(key, low); }
    void read(const char* key, int& out, int low, int high = 1 << 20) {
      out = static_cast<int>(whole(key, low, high));
    }
    void read(const char* key, int64_t& out, int64_t low, int64_t high = int64_t{1} << 40) {
      out = whole(key, low, high);
    }
    void read(const char* key, bool& out) {
      const toml::node& node = need(key);
      if (!node.is_boolean()) fail(at() + path(key) + " must be true or false");
      out = *node.value<bool>();
    }
    void read(const char* key, std::string& out) {
      const toml::node& node = need(key);
      if (!node.is_string()) fail(at() + path(key) + " must be a string");
      out = *node.value<std::string>();
    }
    void read(const char* key, Figure& out, double low = 0) {
      const toml::node& node = need(key);
      if (const toml::table* both = node.as_table()) {
        for (const auto& [k, v] : *both)
          if (k.str() != "documented" && k.str() != "calibrated")
            fail(at() + path(key) + " has the columns documented and calibrated, not '" +
                 std::string(k.str()) + "'");
        if (both->size() != 2) fail(at() + path(key) + " must give both documented and calibrated");
        out.documented = number(*both->get("documented"), path(key) + ".documented", low, 1e12);
        out.calibrated = number(*both->get("calibrated"), path(key) + ".calibrated", low, 1e12);
      } else {
        out.documented = out.calibrated = number(node, path(key), low, 1e12);
      }
    }
    void read(const char* key, Engine& out) {
      std::string text;
      read(key, text);
      const std::array<std::pair<const char*, Engine>, 4> triggers = {
          {{"act", Engine::act}, {"dve", Engine::dve}, {"gpsimd", Engine::gpsimd}, {"sp", Engine::sp}}};
      for (const auto& [name, engine] : triggers)
        if (text == name) {
          out = engine;
          return;
        }
      fail(at() + path(key) + " must be act, dve, gpsimd or sp, not '" + text + "'");
    }
    void read_tables(const char* key, std::vector<std::pair<std::string, std::vector<std::string>>>& out) {
      const toml::node& node = need(key);
      const toml::table* sets = node.as_table();
      if (sets == nullptr) fail(at() + path(key) + " must be a table of lists");
      std::set<Function> held;
      for (const auto& [set, list] : *sets) {
        const toml::array* names = list.as_array();
        if (names == nullptr) fail(at() + path(key) + " must hold lists of function names");
        std::vector<std::string> functions;
        for (const toml::node& name : *names) {
          if (!name.is_string()) fail(at() + path(key) + " must hold lists of function names");
          functions.push_back(*name.value<std::string>());
          const std::string where = layer_of(key)->at(name) + path(key) + "." + std::string(set.str());
          const auto function = parse_function(functions.back());
          if (!function || only_on_gpsimd(*function))
            fail(where + ": the scalar engine has no function '" + functions.back() + "'");
          if (!held.insert(*function).second)
            fail(where + ": '" + functions.back() + "' is in another set already");
        }
        out.emplace_back(std::string(set.str()), std::move(functions));
      }
      for (int f = 0; f < function_count; ++f)
        if (!only_on_gpsimd(static_cast<Function>(f)) && !held.contains(static_cast<Function>(f)))
          fail(at() + path(key) + ": '" + function_name(static_cast<Function>(f)) + "' is in no set");
    }
    void ignore(const char* key) { seen_.insert(key); }
    void finish() {
      for (const auto& [table, layer] : tables_)
        for (const auto& [key, node] : *table)
          if (!seen_.contains(std::string(key.str())))
            fail(layer->at(node) + "unknown key '" + path(std::string(key.str()).c_str()) + "'");
    }

   private:
    std::string path(const char* key) const { return name_.empty() ? std::string(key) : name_ + "." + key; }
    const toml::node& need(const char* key) {
      seen_.insert(key);
      for (const auto& [table, layer] : tables_)
        if (const toml::node* node = table->get(key)) {
          at_ = layer->at(*node);
          return *node;
        }
      fail(tables_.front().second->at(*tables_.front().first) + "key '" + path(key) + "' is missing");
    }
    // The file that the key stands in.
    const Layer* layer_of(const char* key) const {
      for (const auto& [table, layer] : tables_)
        if (table->get(key) != nullptr) return layer;
      return tables_.front().second;
    }
    // Where the key that is being read stands.
    const std::string& at() const { return at_; }
    double number(const toml::node& node, const std::string& key, double low, double high) {
      const auto value = node.is_number() ? node.value<double>() : std::nullopt;
      if (!value) fail(at() + key + " must be a number");
      if (!(*value >= low && *value <= high)) {
        std::ostringstream text;
        text << at() << key << " = " << *value << " must be from " << low << " to " << high;
        fail(text.str());
      }
      return *value;
    }
    int64_t whole(const char* key, int64_t low, int64_t high) {
      const toml::node& node = need(key);
      const double value = number(node, path(key), static_cast<double>(low), static_cast<double>(high));
      if (value != std::floor(value)) fail(at() + path(key) + " must be a whole number");
      return static_cast<int64_t>(value);
    }

    std::string name_;
    std::vector<std::pair<const toml::table*, const Layer*>> tables_;
    std::set<std::string> seen_;
    std::string at_;
  };

 private:
  const Layers& layers_;
};

// The smallest positive rate: a divisor that may not be zero.
constexpr double positive = 1e-9;

Description read(const Layers& layers) {
  const Reader reader(layers);
  using Section = Reader::Section;
  Description d{};
  {
    Section s(reader, "");
    s.read("name", d.name), s.read("core", d.core), s.ignore("base");
    for (const char* section :
         {"pe", "dve", "act", "gpsimd", "sync", "sbuf", "psum", "ports", "dma", "hbm", "throttle", "chip"})
      s.ignore(section);
    s.finish();
  }
  {
    Section s(reader, "pe");
    PeDescription& pe = d.pe;
    s.read("rows", pe.rows, 1, 128), s.read("columns", pe.columns, 1, 128), s.read("ghz", pe.ghz, positive);
    s.read("moving_max", pe.moving_max, 1, 8192), s.read("min_interval", pe.min_interval);
    s.read("latency", pe.latency), s.read("load_divisor", pe.load_divisor, positive),
        s.read("load_min", pe.load_min);
    s.read("pair_bubble", pe.pair_bubble), s.read("passes_fp32", pe.passes_fp32, positive);
    s.read("passes_fp32_onezero", pe.passes_fp32_onezero, positive), s.read("tile_min", pe.tile_min, 1, 128);
    s.read("passes_fp32_transpose", pe.passes_fp32_transpose, positive);
    s.read("passes_fp8", pe.passes_fp8, positive), s.read("transpose_exact", pe.transpose_exact);
    s.read("psum_bf16", pe.psum_bf16), s.finish();
  }
  {
    Section s(reader, "dve");
    DveDescription& v = d.dve;
    s.read("ghz", v.ghz, positive), s.read("min_interval", v.min_interval),
        s.read("interval_add", v.interval_add);
    s.read("latency", v.latency), s.read("copy_16bit", v.copy_16bit, positive);
    s.read("copy_32bit", v.copy_32bit, positive), s.read("copy_16bit_slow", v.copy_16bit_slow, positive);
    s.read("tensor_16bit", v.tensor_16bit, positive), s.read("tensor_32bit", v.tensor_32bit, positive);
    s.read("tensor_psum", v.tensor_psum, positive), s.read("reduce_16bit", v.reduce_16bit, positive);
    s.read("memset_16bit", v.memset_16bit, positive), s.read("scan_factor", v.scan_factor);
    s.read("reciprocal_factor", v.reciprocal_factor), s.read("bn_aggr_factor", v.bn_aggr_factor);
    s.read("copy_8bit", v.copy_8bit, positive), s.read("dynamic_copy", v.dynamic_copy);
    s.read("range_select", v.range_select);
    s.read("stride_factor", v.stride_factor, 1), s.read("stride_bytes", v.stride_bytes, 1), s.finish();
  }
  {
    Section s(reader, "act");
    ActDescription& a = d.act;
    s.read("ghz", a.ghz, positive), s.read("min_interval", a.min_interval),
        s.read("interval_add", a.interval_add);
    s.read("latency", a.latency), s.read("elements_16bit", a.elements_16bit, positive);
    s.read("elements_32bit", a.elements_32bit, positive), s.read("accumulate", a.accumulate);
    s.read("table_load_ns", a.table_load_ns), s.read_tables("tables", a.tables), s.finish();
  }
  {
    Section s(reader, "gpsimd");
    GpSimdDescription& g = d.gpsimd;
    s.read("ghz", g.ghz, positive), s.read("start", g.start), s.read("elements", g.elements, positive);
    s.read("function_factor", g.function_factor), s.read("random_factor", g.random_factor);
    s.read("partition_reduce_factor", g.partition_reduce_factor);
    s.read("gather_start", g.gather_start), s.read("gather_element", g.gather_element, positive);
    s.read("latency", g.latency), s.finish();
  }
  {
    Section s(reader, "sync");
    s.read("ghz", d.sync.ghz, positive), s.read("hop_ns", d.sync.hop_ns),
        s.read("launch_us", d.sync.launch_us);
    s.finish();
  }
  {
    Section s(reader, "sbuf");
    s.read("partitions", d.sbuf.partitions, 32, 128), s.read("kib", d.sbuf.kib, 1, 1 << 20);
    s.read("reserved_kib", d.sbuf.reserved_kib, 0, d.sbuf.kib - 1), s.finish();
  }
  {
    Section s(reader, "psum");
    s.read("banks", d.psum.banks, 1, 64), s.read("bank_bytes", d.psum.bank_bytes, 64, 1 << 16), s.finish();
  }
  {
    Section s(reader, "ports");
    s.read("sbuf_dve_gpsimd", d.ports.sbuf_dve_gpsimd), s.read("psum_dve_act", d.ports.psum_dve_act),
        s.finish();
  }
  {
    Section s(reader, "dma");
    DmaDescription& m = d.dma;
    s.read("engines", m.engines, 1, 64), s.read("queues", m.queues, 1, 64), s.read("gbps", m.gbps, positive);
    s.read("descriptor_ns", m.descriptor_ns), s.read("descriptor_bytes", m.descriptor_bytes, 1);
    s.read("partitions_per_engine", m.partitions_per_engine, 1, 128);
    s.read("start_ns", m.start_ns), s.read("done_ns", m.done_ns), s.read("issue_ns", m.issue_ns);
    s.read("dynamic_issue_ns", m.dynamic_issue_ns), s.read("dynamic_descriptor_ns", m.dynamic_descriptor_ns);
    s.read("transpose_rate", m.transpose_rate, positive), s.read("compute_rate", m.compute_rate, positive);
    s.read("load_trigger", m.load_trigger), s.read("store_trigger", m.store_trigger), s.finish();
  }
  {
    Section s(reader, "hbm");
    s.read("gib", d.hbm.gib, positive), s.read("gbps", d.hbm.gbps, positive);
    s.read("cores_per_domain", d.hbm.cores_per_domain, 1, 64);
    s.read("cores_active", d.hbm.cores_active, 1, d.hbm.cores_per_domain), s.finish();
  }
  {
    Section s(reader, "throttle");
    s.read("enabled", d.throttle.enabled), s.read("start_rate", d.throttle.start_rate, 0.01);
    s.read("ramp_us", d.throttle.ramp_us), s.read("window_us", d.throttle.window_us), s.finish();
  }
  {
    Section s(reader, "chip");
    s.read("cores", d.chip.cores, 1, 1024), s.read("link_gbps", d.chip.link_gbps);
    s.read("flops_bf16_tera", d.chip.flops_bf16_tera, positive), s.read("usd_per_hour", d.chip.usd_per_hour);
    s.finish();
  }
  return d;
}

toml::table parse(std::string_view text, const std::string& source) {
  try {
    return toml::parse(text, source);
  } catch (const toml::parse_error& error) {
    throw Error(ErrorCode::corrupt, source + ":" + std::to_string(error.source().begin.line) + ": " +
                                        std::string(error.description()));
  }
}

// The text, then the base it names, then the base of that.
Layers layers_of(std::string_view text, const std::string& source) {
  Layers layers;
  layers.push_back({parse(text, source), source});
  while (const toml::node* base = layers.back().table.get("base")) {
    const auto name = base->value<std::string>();
    const std::vector<std::string> known = builtin_devices();
    if (!name || std::find(known.begin(), known.end(), *name) == known.end() || layers.size() > 4)
      fail(layers.back().at(*base) + "base must be the name of a built-in device");
    layers.push_back({parse(builtin_device_text(*name), *name + ".toml"), *name + ".toml"});
  }
  return layers;
}

std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw Error(ErrorCode::not_found, "device file '" + path + "' cannot be read");
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

}  // namespace

const char* engine_name(Engine engine) {
  constexpr std::array<const char*, engine_count> names = {"tensor", "scalar", "vector", "gpsimd", "sync"};
  return names[static_cast<size_t>(engine)];
}

std::vector<std::string> builtin_devices() {
  std::vector<std::string> names;
  for (const BuiltinDevice& device : builtin_device_files) names.emplace_back(device.name);
  return names;
}

std::string_view builtin_device_text(std::string_view name) {
  std::string known;
  for (const BuiltinDevice& device : builtin_device_files) {
    if (name == device.name) return device.text;
    known += (known.empty() ? "" : ", ") + std::string(device.name);
  }
  throw Error(ErrorCode::not_found, "no simulated device '" + std::string(name) + "'; there are " + known +
                                        ", or a file ending in .toml");
}

Description parse_description(std::string_view toml, std::string_view source) {
  return read(layers_of(toml, std::string(source)));
}

Description load_description(std::string_view name) {
  if (!name.ends_with(".toml"))
    return parse_description(builtin_device_text(name), std::string(name) + ".toml");
  return parse_description(read_file(std::string(name)), name);
}

Description with(std::string_view device, const std::vector<std::pair<std::string, double>>& changes) {
  const bool is_file = device.ends_with(".toml");
  const std::string source = is_file ? std::string(device) : std::string(device) + ".toml";
  const std::string text = is_file ? read_file(source) : std::string(builtin_device_text(device));
  Layers layers = layers_of(text, source);
  Layer over{{}, "changes of " + source};
  for (const auto& [key, value] : changes) {
    const size_t dot = key.find('.');
    const std::string section = key.substr(0, dot),
                      name = dot == std::string::npos ? "" : key.substr(dot + 1);
    const toml::node* old = nullptr;
    for (const Layer& layer : layers)
      if (old == nullptr && layer.table.get(section) != nullptr && layer.table.get(section)->is_table())
        old = layer.table.get(section)->as_table()->get(name);
    if (old == nullptr) throw Error(ErrorCode::not_found, source + ": there is no key '" + key + "'");
    if (over.table.get(section) == nullptr) over.table.insert(section, toml::table{});
    toml::table& changed = *over.table.get(section)->as_table();
    if (old->is_boolean())
      changed.insert_or_assign(name, value != 0);
    else
      changed.insert_or_assign(name, value);
  }
  layers.insert(layers.begin(), std::move(over));
  return read(layers);
}

}  // namespace heddle::systolic
