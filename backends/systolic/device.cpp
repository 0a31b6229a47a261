// The simulated NeuronCore as a Heddle device: partitions become instruction streams, and time is a model's.
#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "heddle/backend.h"
#include "heddle/error.h"
#include "heddle/schema.h"
#include "heddle/systolic/program.h"
#include "ir/abi_codec.h"
#include "kernels/catalogue.h"
#include "systolic/kernels/lowering.h"

namespace heddle::systolic {
namespace {

using backend::NodeRef;
using backend::Offer;
using backend::ValueRef;

// heddle::Error keeps its code across the contract.
template <class Body>
decltype(auto) translated(Body&& body) {
  try {
    return body();
  } catch (const Error& e) {
    throw backend::Failure(static_cast<hd_code>(e.code()), e.what());
  }
}

bool is_wide_integer(uint32_t dtype) { return dtype == HD_DTYPE_INT64 || dtype == HD_DTYPE_UINT64; }

Operand operand_of(const ValueRef& value, const Hbm& hbm) {
  Operand o;
  o.hbm = hbm;
  o.dtype = static_cast<DType>(value.dtype());
  for (const int64_t d : value.dims()) o.shape.push_back(d);
  o.present = true;
  o.constant = value.constant();
  return o;
}

struct NeuronProgram final : backend::Program {
  explicit NeuronProgram(systolic::Program compiled) : program(std::move(compiled)) {}
  systolic::Program program;
  std::vector<uint32_t> bound;  // value index per hbm() of the stream
  std::string report, trace;    // made when first asked for
};

struct NeuronBinding final : backend::Binding {
  NeuronProgram* program = nullptr;
  std::vector<std::byte*> address;  // per value of the partition
  std::vector<std::byte*> values;   // per hbm() of the stream
  std::byte* memory = nullptr;
  void rebind(uint32_t value, void* to) override {
    address[value] = static_cast<std::byte*>(to);
    for (size_t i = 0; i < program->bound.size(); ++i) values[i] = address[program->bound[i]];
  }
};

class NeuronDevice final : public backend::Device {
 public:
  NeuronDevice(backend::DeviceFacts facts, Description description, CompileOptions options)
      : Device(std::move(facts)), description_(std::move(description)), options_(options) {}

  Offer offer(const NodeRef& node) override {
    const Lowering* lowering = find_lowering(node.op());
    if (lowering == nullptr) return backend::no("no engine path for this op on the simulated NeuronCore");
    for (uint32_t i = 0; i < node.inputs() + node.outputs(); ++i) {
      const ValueRef v = i < node.inputs() ? node.input(i) : node.output(i - node.inputs());
      if (v && v.elements() == 0)
        return backend::no("a value of zero elements (" + v.text() + ") has no tile");
    }
    return translated([&] { return lowering->offer(node); });
  }

  std::unique_ptr<backend::Program> compile(const hd_graph& graph) override {
    return translated([&] { return compile_stream(graph); });
  }

  std::unique_ptr<backend::Binding> bind(backend::Program& base, std::vector<void*> addresses) override {
    auto binding = std::make_unique<NeuronBinding>();
    binding->program = static_cast<NeuronProgram*>(&base);
    for (void* a : addresses) binding->address.push_back(static_cast<std::byte*>(a));
    binding->memory = binding->address.back();
    for (const uint32_t v : binding->program->bound) binding->values.push_back(binding->address[v]);
    return binding;
  }

  uint64_t launch(backend::Binding& base) override {
    auto& binding = static_cast<NeuronBinding&>(base);
    if (options_.numerics) translated([&] { binding.program->program.run(binding.values, binding.memory); });
    return 0;
  }

  const void* extension(std::string_view name) override;

 private:
  // What a node reads and writes must lie in HBM at once. Asked before anything is emitted: the instructions
  // for a value that cannot exist would fill the host's memory first. Timing alone has no memory, but the
  // host, which holds the instructions that write a result, has.
  void expect_room(const NodeRef& node) const {
    constexpr uint64_t timing_alone = uint64_t{1} << 44;
    const uint64_t room = options_.numerics ? facts().memory_bytes : timing_alone;
    uint64_t bytes = 0;
    const auto add = [&](const ValueRef& v) {
      if (!v) return;
      bytes += std::min(v.bytes(), room + 1);  // no sum of these overflows
      if (bytes > room)
        throw backend::Failure(HD_ERROR_OUT_OF_MEMORY,
                               std::string(node.name()) + " (" + node.op() + "): its operands and results, " +
                                   v.text() + " among them, take more than " + std::to_string(room) +
                                   " bytes, the HBM of this core; use smaller sizes");
    };
    for (uint32_t i = 0; i < node.outputs(); ++i) add(node.output(i));
    for (uint32_t i = 0; options_.numerics && i < node.inputs(); ++i) add(node.input(i));
  }

  std::unique_ptr<backend::Program> compile_stream(const hd_graph& graph) {
    for (uint32_t n = 0; n < graph.n_node; ++n) expect_room(NodeRef(&graph, n));
    NeuronCore nc(description_);
    std::vector<Hbm> hbm(graph.n_value);
    std::vector<uint32_t> bound;
    for (uint32_t v = 0; v < graph.n_value; ++v) {
      const ValueRef value(graph.value[v], v);
      const int64_t words = is_wide_integer(value.dtype()) ? 2 : 1;
      const Shape shape{value.elements() * words};
      const DType dtype = words == 2 ? DType::uint32 : static_cast<DType>(value.dtype());
      const std::string name = value.get()->name[0] ? value.get()->name : "value" + std::to_string(v);
      if (value.kind() == HD_VALUE_INTERMEDIATE) {
        hbm[v] = nc.hbm_scratch(name, shape, dtype);
      } else {
        hbm[v] = nc.hbm(name, shape, dtype);
        bound.push_back(v);
      }
    }
    std::vector<std::string> kernels;
    std::vector<hd_pair> in_place;
    for (uint32_t n = 0; n < graph.n_node; ++n) {
      const NodeRef node(&graph, n);
      const Lowering* lowering = find_lowering(node.op());
      if (lowering == nullptr)
        throw backend::Failure(HD_ERROR_UNSUPPORTED,
                               std::string(node.name()) + ": no engine path for " + node.op());
      const Attributes attributes = decode_attributes(*node.get(), *find_op(node.op()));
      std::vector<Operand> inputs(node.inputs()), outputs(node.outputs());
      for (uint32_t i = 0; i < node.inputs(); ++i)
        if (node.input(i)) inputs[i] = operand_of(node.input(i), hbm[node.input(i).index()]);
      for (uint32_t i = 0; i < node.outputs(); ++i)
        outputs[i] = operand_of(node.output(i), hbm[node.output(i).index()]);
      nc.scope(node.name());
      lowering->emit({nc, node.op(), node.name(), attributes, inputs, outputs});
      kernels.push_back(facts().name + "." + node.op());
    }
    // Updates: instructions run in the order of emission, element by element, so a result may overwrite the
    // variable it replaces when the node that makes it is the last to read the variable.
    for (uint32_t u = 0; u < graph.n_update; ++u)
      if (overwrites_safely(graph, graph.update[u]))
        in_place.push_back({graph.update[u].second, graph.update[u].first});
    auto program = std::make_unique<NeuronProgram>(systolic::compile(std::move(nc).finish(), options_));
    program->bound = std::move(bound);
    program->facts.scratch_bytes = options_.numerics ? program->program.memory_bytes() : 0;
    program->facts.kernels = std::move(kernels);
    program->facts.in_place = std::move(in_place);
    return program;
  }

  // Optimizers read and write each element once, at the same place; nothing after them reads the old value.
  static bool overwrites_safely(const hd_graph& graph, const hd_pair& update) {
    bool seen_writer = false;
    for (uint32_t n = 0; n < graph.n_node; ++n) {
      const NodeRef node(&graph, n);
      bool reads = false, writes = false;
      for (uint32_t i = 0; i < node.inputs(); ++i) reads |= node.get()->in[i] == update.first;
      for (uint32_t i = 0; i < node.outputs(); ++i) writes |= node.get()->out[i] == update.second;
      if (reads && seen_writer) return false;
      if (!writes) continue;
      const std::string_view op = node.op();
      if (op != "adamw" && op != "adam" && op != "sgd") return false;
      seen_writer = true;
    }
    return seen_writer;
  }

  Description description_;
  CompileOptions options_;
};

const void* NeuronDevice::extension(std::string_view name) {
  if (name != HD_EXTENSION_SIMULATED) return nullptr;
  static const hd_simulated_v1 simulated = {
      sizeof(hd_simulated_v1), 0,
      [](hd_device*, hd_program* p) {
        return static_cast<uint64_t>(backend::program_of<NeuronProgram>(p).program.timing().total);
      },
      [](hd_device*, hd_program* p) -> const char* {
        auto& program = backend::program_of<NeuronProgram>(p);
        if (program.report.empty()) program.report = program.program.report();
        return program.report.c_str();
      },
      [](hd_device*, hd_program* p) -> const char* {
        auto& program = backend::program_of<NeuronProgram>(p);
        if (program.trace.empty()) program.trace = program.program.trace();
        return program.trace.c_str();
      }};
  return &simulated;
}

// "pe.ghz=3.0" and the like among the options change that number of the device file.
std::unique_ptr<backend::Device> open_device(const std::string& file, const backend::Options& options,
                                             const std::vector<std::pair<std::string, double>>& changes) {
  Description description =
      translated([&] { return changes.empty() ? load_description(file) : with(file, changes); });
  CompileOptions compile_options;
  const std::string numerics = options.get("numerics", "on");
  if (numerics != "on" && numerics != "off")
    throw backend::Failure(HD_ERROR_INVALID_ARGUMENT,
                           "option numerics=" + numerics + " is neither on nor off");
  compile_options.numerics = numerics == "on";
  compile_options.window = static_cast<int>(options.integer("window", compile_options.window, 0, 1 << 20));
  backend::DeviceFacts facts;
  facts.name = description.name;
  facts.description =
      "simulated " + description.core + ": calibrated on public figures, never run on Trainium";
  const double share = description.hbm.gib * 1024 * 1024 * 1024;  // of one core
  facts.memory_bytes =
      static_cast<uint64_t>(options.integer("memory", static_cast<int64_t>(share), 1, INT64_MAX));
  facts.clock = HD_CLOCK_SIMULATED;
  facts.host_memory = false;
  facts.computes = compile_options.numerics;
  return std::make_unique<NeuronDevice>(std::move(facts), std::move(description), compile_options);
}

std::vector<backend::DeviceFactory> devices() {
  std::vector<backend::DeviceFactory> list;
  for (const std::string& name : builtin_devices())
    list.push_back({name, [name](const backend::Options& given) {
                      backend::Options options = given;
                      const auto changes = options.take_dotted_numbers();
                      options.expect({"numerics", "window", "memory"});
                      return open_device(name, options, changes);
                    }});
  list.push_back({"systolic", [](const backend::Options& given) {
                    backend::Options options = given;
                    const auto changes = options.take_dotted_numbers();
                    options.expect({"", "numerics", "window", "memory"});
                    const std::string file = options.get("", "");
                    if (file.empty())
                      throw backend::Failure(HD_ERROR_INVALID_ARGUMENT,
                                             "name a device file: systolic:FILE.toml");
                    return open_device(file, options, changes);
                  }});
  return list;
}

}  // namespace
}  // namespace heddle::systolic

extern "C" const hd_plugin* heddle_systolic_plugin() {
  return heddle::backend::plugin<heddle::systolic::devices>("systolic", "0.1");
}
