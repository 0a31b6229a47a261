// What the engines need to bind their instructions: operands with addresses, and a place for the finished
// steps.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "systolic/engines/map.h"
#include "systolic/engines/pe.h"
#include "systolic/engines/plan.h"

namespace heddle::systolic {

class Binder {
 public:
  Binder(Plan& plan, std::span<const uint32_t> order);
  void bind_all();

  const Stream& stream() const { return plan_.stream_; }
  // The first view with that role; it must exist.
  HostOperand operand(const Instruction& i, Role role) const;
  HostOperand operand(const View& view) const;
  HostOperand operand(const Region& region) const;
  bool has(const Instruction& i, Role role) const { return stream().view_of(i, role) != nullptr; }

  template <class Arguments>
  void add(StepFunction run, Arguments arguments) {
    plan_.steps_.push_back({run, plan_.arguments_.add(std::move(arguments)), current_});
  }
  // Arguments that other arguments point to.
  template <class Arguments>
  const Arguments* keep(Arguments arguments) {
    return plan_.rare_.add(std::move(arguments));
  }
  // A finished Map; rejects when there is none.
  void add_map(const Instruction& i, const MapBuilder& builder);
  [[noreturn]] void reject(const Instruction& i, const std::string& why) const;

 private:
  void bind(uint32_t index);
  void bind_matmul(uint32_t index);
  void flush_products();

  Plan& plan_;
  std::vector<uint32_t> order_;
  Placement placement_;
  uint32_t current_ = 0;
  // Products that are being collected, if any.
  std::unique_ptr<Products> products_;
  uint32_t products_first_ = 0;
  View last_psum_, last_moving_;
};

// One function per engine; each binds the instructions that its engine executes.
void bind_transpose(Binder& binder, const Instruction& i);   // pe.cpp, dve
void bind_activation(Binder& binder, const Instruction& i);  // act.cpp
void bind_vector(Binder& binder, const Instruction& i);      // dve.cpp
void bind_gpsimd(Binder& binder, const Instruction& i);      // gpsimd.cpp
void bind_select(Binder& binder, const Instruction& i);      // select.cpp: by position, by chance
void bind_rearrange(Binder& binder, const Instruction& i);   // rearrange.cpp: by indices
void bind_onezero(Binder& binder, const Instruction& i,
                  Role role);                         // select.cpp: faults unless all are 0 or 1
void bind_dma(Binder& binder, const Instruction& i);  // dma.cpp

}  // namespace heddle::systolic
