// Every op, family by family.
#pragma once

#include "heddle/ops/attention.h"
#include "heddle/ops/convert.h"
#include "heddle/ops/gather.h"
#include "heddle/ops/layout.h"
#include "heddle/ops/loss.h"
#include "heddle/ops/matmul.h"
#include "heddle/ops/normalize.h"
#include "heddle/ops/optimizer.h"
#include "heddle/ops/pointwise.h"
#include "heddle/ops/random.h"
#include "heddle/ops/reduce.h"
#include "heddle/ops/rope.h"
#include "heddle/ops/softmax.h"
#include "heddle/ops/sort.h"
