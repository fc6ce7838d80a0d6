// SPDX-License-Identifier: Apache-2.0
// Node id -> where the node's two copies lie and which checkpoint wrote it. A node keeps its id
// while one device alone owns it, so rewriting a leaf touches no parent, and moving a node that a
// thousand snapshots share is one entry.
// Tables are values that share unchanged chunks: each checkpoint has its own, immutable; copying
// one costs some 16 bytes for 65,536 ids.
// Thread-safety: a const NodeTable may be read by all; edits are by the one checkpoint.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/result.h"
#include "base/units.h"

namespace lamina {

struct NodeEntry {
  std::array<Address, 2> copies{};
  CheckpointNumber checkpoint = 0;  // expected version (A12)
  uint32_t mapped_blocks = 0;       // data blocks in it or below it, saturating
  uint8_t level = 0;
  bool present() const { return copies[0].generation != Generation::none; }
  friend bool operator==(const NodeEntry&, const NodeEntry&) = default;
};

class NodeTable {
 public:
  // Ids are below this. They are reused once no retained checkpoint has them (F19).
  static constexpr uint64_t max_ids = uint64_t{1} << 36;

  // Asserts that the node is there.
  const NodeEntry& at(NodeId id) const;
  const NodeEntry* find(NodeId id) const;  // null: not there
  // Asserts that the entry is present() and the id is not none.
  void set(NodeId id, const NodeEntry& entry);
  void erase(NodeId id);  // nothing if it is not there
  uint64_t count() const { return count_; }
  uint64_t limit() const { return limit_; }  // one past the largest id that may be present
  size_t bytes() const;                      // of memory, shared chunks counted whole

  template <class Visit>  // visit(NodeId, const NodeEntry&), in order of id
  void for_each(Visit visit) const {
    for (size_t b = 0; b < branches_.size(); ++b) {
      if (!branches_[b]) continue;
      for (size_t c = 0; c < fanout; ++c) {
        const Chunk* chunk = (*branches_[b])[c].get();
        if (!chunk) continue;
        for (size_t i = 0; i < fanout; ++i)
          if ((*chunk)[i].present()) visit(NodeId{(b * fanout + c) * fanout + i}, (*chunk)[i]);
      }
    }
  }

  // Packed: some 20 bytes a node, FORMAT.md says how. unpack checks everything and takes what it
  // read off the front of `in`.
  void pack(std::vector<std::byte>& out) const;
  static Result<NodeTable> unpack(std::span<const std::byte>& in);

 private:
  static constexpr size_t fanout = 256;
  // Owners of both: the tables that share them; copied before a write unless it is the only one.
  using Chunk = std::array<NodeEntry, fanout>;
  using Branch = std::array<std::shared_ptr<Chunk>, fanout>;

  NodeEntry& writable(uint64_t id);

  std::vector<std::shared_ptr<Branch>> branches_;
  uint64_t count_ = 0;
  uint64_t limit_ = 0;
};

}  // namespace lamina
