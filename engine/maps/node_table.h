// SPDX-License-Identifier: Apache-2.0
// Node id -> where the node's two copies lie and which checkpoint wrote it. A node keeps its id
// while one device alone owns it, so rewriting a leaf touches no parent, and moving a node that a
// thousand snapshots share is one entry.
// Tables are values that share unchanged chunks: each checkpoint has its own, immutable.
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
  uint32_t mapped_blocks = 0;       // of a leaf: data blocks, saturating
  uint8_t level = 0;
  bool present() const { return copies[0].generation != Generation::none; }
  friend bool operator==(const NodeEntry&, const NodeEntry&) = default;
};

class NodeTable {
 public:
  // Asserts that the node is there.
  const NodeEntry& at(NodeId id) const;
  const NodeEntry* find(NodeId id) const;  // null: not there
  void set(NodeId id, const NodeEntry& entry);
  void erase(NodeId id);
  uint64_t count() const { return count_; }
  uint64_t limit() const;  // one past the largest id that may be present
  size_t bytes() const;    // of memory, shared chunks counted whole

  template <class Visit>  // visit(NodeId, const NodeEntry&), in order of id
  void for_each(Visit visit) const {
    for (size_t c = 0; c < chunks_.size(); ++c) {
      if (!chunks_[c]) continue;
      for (size_t i = 0; i < chunk_length; ++i)
        if ((*chunks_[c])[i].present())
          visit(NodeId{c * chunk_length + i}, (*chunks_[c])[i]);
    }
  }

  // Packed: some 20 bytes a node. unpack checks everything.
  void pack(std::vector<std::byte>& out) const;
  static Result<NodeTable> unpack(std::span<const std::byte>& in);

 private:
  static constexpr size_t chunk_length = 256;
  using Chunk = std::array<NodeEntry, chunk_length>;
  std::vector<std::shared_ptr<Chunk>> chunks_;  // owners: the tables that share it; copied on write
  uint64_t count_ = 0;
};

}  // namespace lamina
