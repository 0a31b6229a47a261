// What programs that build graphs and run them need; each header is the manual of its part. Apart stand
// heddle/models/gpt.h (a transformer), heddle/conformance.h (the kit that proves a device), heddle/backend.h
// (for writing a device), heddle/memory_plan.h and, with the simulated device, heddle/systolic.h.
#pragma once

#include "heddle/autodiff.h"
#include "heddle/checkpoint.h"
#include "heddle/device.h"
#include "heddle/dtype.h"
#include "heddle/error.h"
#include "heddle/estimate.h"
#include "heddle/explain.h"
#include "heddle/graph.h"
#include "heddle/ops.h"
#include "heddle/optimizer.h"
#include "heddle/schema.h"
#include "heddle/session.h"
#include "heddle/shape.h"
#include "heddle/tensor.h"
#include "heddle/trace.h"
#include "heddle/variable.h"
