// Everything: build a graph, open devices, run. Each header is the manual of its part.
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
