// What stands behind heddle::Session.
#pragma once

#include <atomic>
#include <list>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "exec/variable_set.h"
#include "heddle/session.h"
#include "heddle/trace.h"
#include "plan/plan.h"

namespace heddle {

struct Session::Impl final : plan::VariableSource {
  Graph graph;
  std::vector<device::DevicePtr> devices;
  Variables variables;
  SessionOptions options;
  std::vector<std::shared_ptr<exec::VariableState>> states;  // per variable of the graph
  std::list<std::unique_ptr<plan::Plan>> plans;              // most recently used first
  uint64_t plans_made = 0;
  RunReport report;
  Trace* trace = nullptr;
  std::atomic<bool> cancelled{false};
  std::atomic<bool> busy{false};          // a Turn is held
  std::vector<const void*> bound_inputs;  // what the front plan's host slots point to now
  std::vector<const void*> bound_outputs;
  std::vector<device::Buffer> spare;  // front plan: memory for outputs that a run does not want

  // The right to use the plans: one holder at a time, whatever the thread.
  class Turn {
   public:
    // Throws invalid_argument while another holds it.
    explicit Turn(Impl& session);
    Turn(Turn&& other) noexcept : session_(std::exchange(other.session_, nullptr)) {}
    Turn& operator=(Turn&&) = delete;
    ~Turn() {
      if (session_ != nullptr) session_->busy.store(false, std::memory_order_release);
    }

   private:
    Impl* session_;
  };

  // A cancellation ends with the run it was asked of, however that run ends: it never reaches the next one.
  struct CancelEnds {
    std::atomic<bool>& cancelled;
    ~CancelEnds() { cancelled.store(false, std::memory_order_relaxed); }
  };

  Impl(const Graph& source, const std::vector<Device>& opened, Variables set, SessionOptions chosen);

  // Graph inputs in order -> the plan for their shapes, made when new, moved to the front.
  plan::Plan& plan_for(std::span<const Tensor> inputs);
  DimBinding binding_of(std::span<const Tensor> inputs) const;
  plan::Plan& plan_under(const DimBinding& binding);
  // Throws not_found for names that the graph does not have, and for missing ones.
  void check_binding(const DimBinding& binding) const;
  void front_changed();
  // The caller of these holds the turn.
  void run(std::span<const Tensor> inputs, std::span<Tensor> outputs);
  std::map<std::string, Tensor> run(const std::map<std::string, Tensor>& inputs);

  plan::VariablePlace settle(uint32_t index, const device::DevicePtr& device) override;

 private:
  void check_inputs(std::span<const Tensor> inputs) const;
  void check_outputs(const plan::Plan& plan, std::span<Tensor> outputs) const;
  void check_variables(const plan::Plan& plan) const;
  void bind_host(plan::Plan& plan, std::span<const Tensor> inputs, std::span<Tensor> outputs);
  void run_step(plan::Plan& plan, size_t index, std::span<const Tensor> inputs, std::span<Tensor> outputs);
  void launch(plan::Plan& plan, const plan::CompiledPartition& part);
  void record(const plan::Plan& plan, const plan::CompiledPartition& part);
  bool is_frozen_stale(const plan::Plan& plan) const;
};

}  // namespace heddle
