// Refitting the few constants of a device that are fits: DMA time per descriptor, lost cycles per PE pass,
// fixed latency and issue interval of ACT and DVE.
//
// Each constant is fitted, on the calibrated column, to the published rows of the built-in replay kernels
// that depend on it most, one constant at a time, in rounds, so that the sum of (ln predicted/measured)^2
// over its rows is least. The other rows are held out: their residuals are a test of the model. Documented
// costs are not touched, nothing is written. Everything is simulated; calibrated on public figures, never run
// on Trainium.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "heddle/systolic/description.h"

namespace heddle::systolic {

enum class Quantity : uint8_t { time, pe_busy, act_busy, dve_busy };
const char* quantity_name(Quantity quantity);  // "time", "tensor busy", "scalar busy", ...

struct FitRow {
  std::string kernel;
  Quantity quantity = Quantity::time;
};

struct FittedConstant {
  std::string key;     // as in the device file: "dma.descriptor_ns"
  std::string unit;    // "ns", "cycles"
  double in_file = 0;  // the calibrated value that the device file has
  double fitted = 0;
  std::vector<FitRow> rows;
};

struct Residual {
  FitRow row;
  double measured = 0, in_file = 0, fitted = 0;  // seconds
  bool used = false;                             // false: held out
};

struct Calibration {
  std::string device;
  std::vector<FittedConstant> constants;
  std::vector<Residual> residuals;
};

// `device`: a built-in one that has rows (trn1, trn2); throws Error (invalid_argument) for another.
// `rounds`: over all constants; they hardly depend on each other, one suffices.
Calibration calibrate(std::string_view device, int rounds = 1);

}  // namespace heddle::systolic
