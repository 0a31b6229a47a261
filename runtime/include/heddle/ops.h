// Every op, family by family.
#pragma once

#include "heddle/ops/convert.h"
#include "heddle/ops/gather.h"
#include "heddle/ops/layout.h"
#include "heddle/ops/matmul.h"
#include "heddle/ops/pointwise.h"
#include "heddle/ops/random.h"
#include "heddle/ops/reduce.h"
#include "heddle/ops/sort.h"
