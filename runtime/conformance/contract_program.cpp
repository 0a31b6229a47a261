// Offers, programs, bindings and launches.
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>

#include "conformance/bound.h"
#include "conformance/contract.h"
#include "conformance/execution.h"
#include "conformance/reference_run.h"
#include "heddle/ops/matmul.h"

namespace heddle::conformance {
namespace {

using device::DevicePtr;

bool same(const std::vector<Tensor>& a, const std::vector<Tensor>& b) {
  for (size_t i = 0; i < a.size(); ++i)
    if (a[i].bytes() != 0 && std::memcmp(a[i].data(), b[i].data(), a[i].bytes()) != 0) return false;
  return true;
}

// ---- offers

hd_offer ask(const DevicePtr& device, const hd_graph& graph) {
  hd_offer offer{};
  offer.size = sizeof(offer);
  const int32_t code = device->vtable().offer(device->handle(), &graph, 0, &offer);
  expect(code == HD_OK, "offer returned code " + std::to_string(code) + " instead of an answer");
  return offer;
}

// A graph of one made-up node.
struct Node {
  hd_value in{}, out{};
  hd_node node{};
  hd_graph graph{};
  const hd_value* values[2] = {&in, &out};
  const hd_node* nodes[1] = {&node};
  const uint32_t first[1] = {0}, second[1] = {1};

  Node(const char* op, uint32_t version) {
    in.size = out.size = sizeof(hd_value);
    in.kind = HD_VALUE_INPUT;
    out.kind = HD_VALUE_OUTPUT;
    in.name = out.name = "";
    in.type = out.type = {HD_DTYPE_FLOAT32, 1, {4}};
    node.size = sizeof(node);
    node.version = version;
    node.op = op;
    node.name = "node";
    node.in = first;
    node.out = second;
    node.n_in = node.n_out = 1;
    graph.size = sizeof(graph);
    graph.n_value = 2;
    graph.value = values;
    graph.node = nodes;
    graph.n_node = 1;
  }
};

void unknown_op(const DevicePtr& device) {
  const Node node("no_such_op", 1);
  const hd_offer offer = ask(device, node.graph);
  expect(offer.verdict == HD_OFFER_NO,
         "the op 'no_such_op' was offered; ops that a device does not know are refused");
  expect(offer.reason[0] != 0, "the op 'no_such_op' was refused without a reason");
}

void unknown_version(const DevicePtr& device) {
  const Node node("contiguous", 1000);
  const hd_offer offer = ask(device, node.graph);
  expect(offer.verdict == HD_OFFER_NO,
         "version 1000 of an op was offered; versions that a device does not know are refused");
  expect(offer.reason[0] != 0, "version 1000 of an op was refused without a reason");
}

void short_offer(const DevicePtr& device) {
  const Node node("no_such_op", 1);
  hd_offer offer;
  std::memset(&offer, 0xa5, sizeof(offer));
  constexpr size_t room = 16;
  offer.size = offsetof(hd_offer, reason) + room;
  const int32_t code = device->vtable().offer(device->handle(), &node.graph, 0, &offer);
  expect(code == HD_OK, "offer returned code " + std::to_string(code) + " instead of an answer");
  const auto* bytes = reinterpret_cast<const unsigned char*>(offer.reason);
  expect(std::find(offer.reason, offer.reason + room, '\0') != offer.reason + room,
         "hd_offer.reason does not end within the caller's size");
  expect(std::all_of(bytes + room, bytes + sizeof(offer.reason), [](unsigned char b) { return b == 0xa5; }),
         "hd_offer.reason was written past the caller's size");
}

void same_answer(const DevicePtr& device, const Problem& probe) {
  Partition first(probe), second(probe);
  for (int i = 0; i < 3; ++i)
    expect(ask(device, first.graph()).verdict == HD_OFFER_YES &&
               ask(device, second.graph()).verdict == HD_OFFER_YES,
           "the same node was offered once and refused later; offers are pure");
}

// ---- programs

void described(const DevicePtr& device, const Problem& probe) {
  Partition partition(probe);
  const device::Program program = device->compile(partition.graph());
  const hd_program_info info = device->describe(program);
  expect(info.n_kernel == probe.graph.node_count(), "hd_program_info names " + std::to_string(info.n_kernel) +
                                                        " kernels for " +
                                                        std::to_string(probe.graph.node_count()) + " nodes");
  for (uint32_t i = 0; i < info.n_kernel; ++i)
    expect(info.kernel[i] != nullptr, "hd_program_info.kernel has a null name");
  expect(info.scratch_bytes == 0 ||
             (info.scratch_align != 0 && (info.scratch_align & (info.scratch_align - 1)) == 0),
         "hd_program_info.scratch_align is no power of two");
  expect(info.scratch_lower_bound <= info.scratch_bytes,
         "hd_program_info.scratch_lower_bound exceeds scratch_bytes");

  alignas(hd_program_info) std::array<unsigned char, sizeof(hd_program_info)> bytes;
  bytes.fill(0xa5);
  auto* shorter = reinterpret_cast<hd_program_info*>(bytes.data());
  shorter->size = offsetof(hd_program_info, n_kernel);
  device->vtable().describe(device->handle(), program.get(), shorter);
  expect(std::all_of(bytes.begin() + offsetof(hd_program_info, n_kernel), bytes.end(),
                     [](unsigned char b) { return b == 0xa5; }),
         "describe wrote past the size its caller gave");
}

// Nothing of the graph may be kept after compile: here it is gone when the program runs.
void graph_released(const DevicePtr& device, const Problem& probe) {
  Execution once(device, probe);
  const std::vector<Tensor> wanted = once.run(std::byte{0xff});
  std::vector<std::unique_ptr<Execution>> programs;
  for (int i = 0; i < 3; ++i) programs.push_back(std::make_unique<Execution>(device, probe));
  programs.erase(programs.begin());  // another program of the same graph is released while these live
  for (const auto& p : programs)
    expect(same(p->run(std::byte{0xff}), wanted), "two programs of one graph give different results");
}

// Two bindings of one program, with memory of their own.
void two_bindings(const DevicePtr& device, const Problem& probe) {
  Partition partition(probe);
  const device::Stream stream = device->stream();
  const device::Program program = device->compile(partition.graph());
  const hd_program_info info = device->describe(program);
  struct Bound {
    std::vector<std::unique_ptr<GuardedMemory>> memory;  // per value, then scratch
    device::Binding binding;
  };
  std::vector<Bound> bound(2);
  const Graph& graph = probe.graph;
  for (size_t b = 0; b < 2; ++b) {
    std::vector<hd_span> spans;
    for (ValueId v = 0; v < graph.value_count(); ++v) {
      const Shape shape = graph.info(v).dims.shape();
      bound[b].memory.push_back(std::make_unique<GuardedMemory>(
          *device, stream, static_cast<uint64_t>(shape.elements()) * size_of(graph.info(v).dtype)));
      spans.push_back(bound[b].memory.back()->span());
      if (graph.info(v).kind == ValueKind::constant)
        bound[b].memory.back()->write(graph.info(v).constant.data());
    }
    bound[b].memory.push_back(std::make_unique<GuardedMemory>(*device, stream, info.scratch_bytes));
    spans.push_back(bound[b].memory.back()->span());
    bound[b].binding = device->bind(program, spans);
  }
  // The first runs on the inputs, the second on zeros; then the first's results must still be those of its
  // inputs.
  const auto launch = [&](Bound& on, bool zeros) {
    for (size_t i = 0; i < probe.inputs.size(); ++i) {
      const Tensor zero(probe.inputs[i].dtype(), probe.inputs[i].shape());
      on.memory[graph.inputs()[i]]->write(zeros ? zero.data() : probe.inputs[i].data());
    }
    device->wait(stream, device->launch(stream, on.binding));
  };
  const auto results = [&](const Bound& of) {
    std::vector<Tensor> all;
    for (const NamedValue& o : graph.outputs()) {
      all.emplace_back(graph.info(o.value).dtype, graph.info(o.value).dims.shape());
      of.memory[o.value]->read(all.back().data());
    }
    return all;
  };
  launch(bound[0], false);
  const std::vector<Tensor> first = results(bound[0]);
  launch(bound[1], true);
  expect(same(results(bound[0]), first), "a launch of one binding changed the results of another");
  bound[1].binding.reset();
  launch(bound[0], false);
  expect(same(results(bound[0]), first),
         "a binding gives other results after another one of its program was released");
}

void host_memory(const DevicePtr& device, const Problem& probe) {
  if (!device->host_memory())
    throw NotApplicable("the device's memory is not the host's (HD_INFO_HOST_MEMORY)");
  Execution reference(device, probe);
  const std::vector<Tensor> wanted = reference.run(std::byte{0xff});
  Partition partition(probe);
  const device::Stream stream = device->stream();
  const device::Program program = device->compile(partition.graph());
  const hd_program_info info = device->describe(program);
  const Graph& graph = probe.graph;
  std::vector<Tensor> tensors;
  std::vector<hd_span> spans;
  for (ValueId v = 0; v < graph.value_count(); ++v) {
    tensors.emplace_back(graph.info(v).dtype, graph.info(v).dims.shape());
    if (graph.info(v).kind == ValueKind::constant) tensors.back() = graph.info(v).constant.clone();
    spans.push_back(device::host_span(tensors.back().data(), tensors.back().bytes()));
  }
  const Tensor scratch(u8, {static_cast<int64_t>(info.scratch_bytes)});
  spans.push_back(device::host_span(scratch.data(), scratch.bytes()));
  const device::Binding binding = device->bind(program, spans);
  const auto rebind = [&](ValueId v, const Tensor& t) {
    device->rebind(binding, partition.index(v), device::host_span(t.data(), t.bytes()));
  };
  for (int round = 0; round < 2; ++round) {
    for (size_t i = 0; i < probe.inputs.size(); ++i) {
      tensors[graph.inputs()[i]] = probe.inputs[i].clone();
      rebind(graph.inputs()[i], tensors[graph.inputs()[i]]);
    }
    std::vector<Tensor> got;
    for (const NamedValue& o : graph.outputs()) {
      got.emplace_back(graph.info(o.value).dtype, graph.info(o.value).dims.shape());
      rebind(o.value, got.back());
    }
    device->wait(stream, device->launch(stream, binding));
    expect(same(got, wanted),
           "a launch on host memory given by rebind differs from one on the device's buffers");
  }
}

// A device may pack a frozen variable once, by its identity and generation: other contents are another
// generation.
void frozen_variable(const DevicePtr& device) {
  const auto make = [](uint64_t generation) {
    Problem problem;
    problem.exact = true;
    problem.generation = generation;
    const auto tensor = [&](const Shape& shape, const std::string& seed) {
      Tensor t(f32, shape);
      Random random(seed);
      fill::integers(-3, 3)(t, random);
      return t;
    };
    problem.inputs = {tensor({33, 64}, "x")};
    problem.variables = {tensor({64, 17}, "w" + std::to_string(generation))};
    const Value x = problem.graph.input("x", f32, {33, 64}), w = problem.graph.variable("w", f32, {64, 17});
    problem.graph.output("y", matmul(x, w));
    return problem;
  };
  const Problem first = make(1), second = make(2);
  Partition partition(first);
  if (const auto reason = refusal(*device, partition.graph()))
    throw NotApplicable("refuses the matmul of this case: " + *reason);
  const auto expect_right = [](Execution& execution, const Problem& problem, const std::string& what) {
    const std::vector<Tensor> values = run_reference(problem);
    const Tensor got = execution.run(std::byte{0xff})[0];
    expect(compare_exactly(got, values[problem.graph.outputs()[0].value], true).wrong == 0, what);
  };
  Execution one(device, first);
  expect_right(one, first, "a matmul with a frozen variable is wrong");
  Execution two(device, second);
  expect_right(
      two, second,
      "a program for the next generation of a frozen variable computes with the last one's contents");
  expect_right(one, first,
               "a program for one generation of a frozen variable computes with the next one's contents");
}

// offer, compile, describe and bind come from any thread, several at once.
void many_threads(const DevicePtr& device, const Problem& probe) {
  Execution alone(device, probe);
  const std::vector<Tensor> wanted = alone.run(std::byte{0xff});
  std::mutex mutex;
  std::exception_ptr failure;
  std::vector<std::unique_ptr<Execution>> made;
  const auto work = [&] {
    try {
      for (int i = 0; i < 4; ++i) {
        Partition partition(probe);
        expect(!refusal(*device, partition.graph()),
               "a node was refused on one thread that is offered on another");
        auto execution = std::make_unique<Execution>(device, probe);
        const std::lock_guard lock(mutex);
        made.push_back(std::move(execution));
      }
    } catch (...) {
      const std::lock_guard lock(mutex);
      failure = std::current_exception();
    }
  };
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) threads.emplace_back(work);
  for (std::thread& t : threads) t.join();
  if (failure) std::rethrow_exception(failure);
  for (const auto& e : made)
    expect(same(e->run(std::byte{0xff}), wanted), "a program compiled beside others gives other results");
}

}  // namespace

std::vector<ContractCase> program_contract() {
  return {{"contract/offer/unknown_op", unknown_op, nullptr},
          {"contract/offer/unknown_version", unknown_version, nullptr},
          {"contract/offer/short_struct", short_offer, nullptr},
          {"contract/offer/pure", nullptr, same_answer},
          {"contract/program/described", nullptr, described},
          {"contract/program/graph_released", nullptr, graph_released},
          {"contract/binding/two_of_one_program", nullptr, two_bindings},
          {"contract/binding/host_memory", nullptr, host_memory},
          {"contract/variable/frozen", frozen_variable, nullptr},
          {"contract/threads/compile", nullptr, many_threads}};
}

}  // namespace heddle::conformance
