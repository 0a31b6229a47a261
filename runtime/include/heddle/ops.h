// Every op builder.
#pragma once

#include "heddle/ops/convert.h"
#include "heddle/ops/layout.h"
#include "heddle/ops/pointwise.h"
#include "heddle/ops/reduce.h"
