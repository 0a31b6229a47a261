#include "exec/variable_set.h"

#include "heddle/schema.h"
#include "heddle/variable.h"
#include "plan/plan.h"

namespace heddle::exec {
namespace {

uint64_t next_uid() {
  static std::atomic<uint64_t> last{0};
  return ++last;
}

std::string type_text(DType dtype, const Shape& shape) { return dtype_name(dtype) + to_string(shape); }

void expect_type(const VariableState& state, DType dtype, const Shape& shape, const char* who) {
  if (state.dtype == dtype && state.shape == shape) return;
  throw Error(state.dtype != dtype ? ErrorCode::dtype_mismatch : ErrorCode::shape_mismatch,
              "variable '" + state.name + "' is " + type_text(state.dtype, state.shape) + ", but " + who +
                  " " + type_text(dtype, shape));
}

}  // namespace

Tensor VariableState::read() const {
  if (poisoned)
    throw Error(ErrorCode::poisoned, "variable '" + name +
                                         "' was left half-written by a run that failed; write it again "
                                         "(for example from a checkpoint) before using it");
  if (!home) return host.clone();
  Tensor contents(dtype, shape);
  const device::Stream stream = home->stream();
  home->copy_now(stream, device::host_span(contents.data(), bytes()), device::span_of(buffer, 0, bytes()));
  return contents;
}

void VariableState::write(const Tensor& contents) {
  expect_type(*this, contents.dtype(), contents.shape(), "the new contents are");
  const Tensor dense = contents.contiguous();
  if (home) {
    const device::Stream stream = home->stream();
    home->copy_now(stream, device::span_of(buffer, 0, bytes()), device::host_span(dense.data(), bytes()));
  } else {
    host = dense.clone();
  }
  ++generation;
  poisoned = false;
}

void VariableState::settle(const device::DevicePtr& device) {
  if (home) return;
  try {
    buffer = device->alloc(bytes());
  } catch (const Error& e) {
    if (e.code() != ErrorCode::out_of_memory) throw;
    throw Error(e.code(), std::string(e.what()) + "; this is for variable '" + name + "'" +
                              plan::memory_remedy(*device));
  }
  const device::Stream stream = device->stream();
  device->copy_now(stream, device::span_of(buffer, 0, bytes()), device::host_span(host.data(), bytes()));
  home = device;
  host = Tensor();
}

std::shared_ptr<VariableState> VariableSet::declare(const VariableInfo& info) {
  auto& slot = variables[info.name];
  if (slot) {
    expect_type(*slot, info.dtype, info.shape, "the graph declares");
    return slot;
  }
  auto state = std::make_shared<VariableState>();
  state->name = info.name;
  state->dtype = info.dtype;
  state->shape = info.shape;
  state->uid = next_uid();
  state->host = initial_value(info.initializer, info.name, info.dtype, info.shape, seed);
  slot = std::move(state);
  return slot;
}

}  // namespace heddle::exec

namespace heddle {

Variables::Variables() : Variables(0) {}
Variables::Variables(uint64_t seed) : impl_(std::make_shared<exec::VariableSet>()) { impl_->seed = seed; }

uint64_t Variables::seed() const { return impl_->seed; }

std::vector<std::string> Variables::names() const {
  std::vector<std::string> names;
  for (const auto& [name, state] : impl_->variables)
    if (state) names.push_back(name);
  return names;
}

bool Variables::contains(const std::string& name) const {
  const auto it = impl_->variables.find(name);
  return it != impl_->variables.end() && it->second;
}

Tensor Variables::read(const std::string& name) const {
  if (!contains(name)) throw Error(ErrorCode::not_found, "there is no variable '" + name + "'");
  return impl_->variables.at(name)->read();
}

void Variables::write(const std::string& name, const Tensor& contents) {
  if (contains(name)) return impl_->variables.at(name)->write(contents);
  if (!contents.defined())
    throw Error(ErrorCode::invalid_argument, "variable '" + name + "' cannot take an undefined tensor");
  VariableInfo info{name, contents.dtype(), contents.shape(), init::tensor(contents), no_value};
  impl_->declare(info);
}

std::map<std::string, Tensor> Variables::read_all() const {
  std::map<std::string, Tensor> all;
  for (const std::string& name : names()) all.emplace(name, read(name));
  return all;
}

void Variables::write_all(const std::map<std::string, Tensor>& contents) {
  for (const auto& [name, tensor] : contents) {
    if (!tensor.defined())
      throw Error(ErrorCode::invalid_argument, "variable '" + name + "' cannot take an undefined tensor");
    if (contains(name))
      exec::expect_type(*impl_->variables.at(name), tensor.dtype(), tensor.shape(), "the new contents are");
  }
  for (const auto& [name, tensor] : contents) write(name, tensor);
}

}  // namespace heddle
