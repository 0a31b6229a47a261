// Keys and values of long heads in SBUF: a few sections of them, each as far as queries have asked for it.
#pragma once

#include <vector>

#include "systolic/kernels/attention_tiles.h"

namespace heddle::systolic {

inline constexpr int64_t block_rows = 128;  // of a sequence: what the array contracts or multiplies at once
inline int64_t blocks_of(int64_t rows) { return (rows + block_rows - 1) / block_rows; }

// Rows [row, row + count) of a sequence as blocks of 128 rows beside each other: tile[128, blocks * depth].
// With a run of r, a partition takes r neighbouring rows, which lie together in HBM: block j of group g then
// holds rows g*128*r + p*r + j. `count` is a multiple of 128*r, or r is 1.
void load_blocks(NeuronCore& nc, const Tile& tile, const HeadRows& x, int64_t start, int64_t count,
                 int64_t run);
// How many rows to load next when `loaded` are there: as many again, whole groups of runs, at most `most`.
int64_t rows_together(int64_t loaded, int64_t run, int64_t most);
// [128, blocks * depth] -> [depth, rows], at most a bank of PSUM. A last block may be shorter.
Tile turn_blocks(NeuronCore& nc, TilePool& psum, const Tile& rows, int64_t count, int64_t depth);

class Sections {
 public:
  // `turned`: PSUM where keys are turned; `run`: as in load_blocks; `most`: rows that fill a bank of PSUM.
  Sections(NeuronCore& nc, const AttentionShape& a, TilePool& turned, int64_t run, int64_t most);
  // Makes room for as many sections as fit `bytes` of SBUF per partition, six at least: five items may be in
  // flight, and one is prepared.
  void reserve(int64_t section_rows, int64_t bytes);

  // keys[depth, rows] and values[128, blocks * value depth].
  struct Section {
    int64_t kv_head = -1, begin = -1, used = -1;
    int64_t key_rows = 0, value_rows = 0;  // that are there
    size_t pool = 0;
    Tile keys, values;
  };
  // The section that begins at key `begin`. What was asked for longest ago makes room.
  Section& at(int64_t head, int64_t begin);
  // Loads what is missing of the first `rows` rows.
  void need_keys(Section& s, int64_t rows);
  void need_values(Section& s, int64_t rows);

 private:
  int64_t rows_of(const Section& s) const;
  Piece unit(const Section& s, int64_t loaded) const;

  NeuronCore& nc_;
  const AttentionShape& a_;
  TilePool& turned_;
  const int64_t run_, most_;
  int64_t section_rows_ = 0, clock_ = 0, copies_ = 0;
  TilePool rows_;
  std::vector<TilePool> key_pools_, value_pools_;
  std::vector<Section> sections_;
};

}  // namespace heddle::systolic
