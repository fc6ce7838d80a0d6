// SPDX-License-Identifier: Apache-2.0
// What may be there after a crash. Every value that can be looked at (a block, a size, a name, an
// attribute) is a cell with the list of the versions it went through; every version is the work of
// one operation. The pool promises that what survives is a prefix of one order of everything: a
// *cut*, a moment such that what was applied before it is there and what was applied after it is
// not. Each observed cell leaves some moments possible; the promise holds if one moment is left.
//
// Terms: a *tick* numbers the beginnings and endings of operations. An operation is applied,
// perhaps in several steps, at unknown moments between its two ticks, so a version that is seen
// says "the cut is not before its operation began", one that is missing says "the cut is before
// its operation ended". An operation that a flush acknowledged cannot be missing at all.
// Thread-safety: none.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/check.h"

namespace lamina::sim {

using Tick = uint64_t;
inline constexpr Tick never = UINT64_MAX;

enum class OperationIndex : uint32_t { none = 0 };

// The operations of one run since the last moment at which everything was known.
class Operations {
 public:
  struct Times {
    Tick issued = 0, completed = never;
    bool durable = false;
    bool atomic = false;   // all of its cells change at once, or none
    bool changes = false;  // something certainly: what changes nothing needs no entry
    std::string what;
  };

  // Prints every beginning and ending, to follow one run.
  static inline bool trace = false;

  OperationIndex begin(std::string what, bool atomic);
  void complete(OperationIndex operation);
  void make_durable(OperationIndex operation) { times(operation).durable = true; }
  void note_change(OperationIndex operation) { times(operation).changes = true; }
  void note_nothing_changed(OperationIndex operation) { times(operation).changes = false; }
  bool completed(OperationIndex operation) const { return at(operation).completed != never; }
  const Times& at(OperationIndex operation) const;
  Tick now() const { return now_; }
  size_t count() const { return times_.size(); }
  // Forgets all: the base of every cell is now what it is.
  void clear() { times_.clear(); }

 private:
  Times& times(OperationIndex operation) { return const_cast<Times&>(at(operation)); }
  Tick now_ = 0;
  std::vector<Times> times_;
};

template <class Value>
struct Version {
  Value value{};
  OperationIndex operation = OperationIndex::none;  // none: the base
};

// The versions of one value, oldest first; never empty.
template <class Value>
class Cell {
 public:
  Cell() : versions_(1) {}
  explicit Cell(Value base) : versions_{{std::move(base), OperationIndex::none}} {}

  const Value& current() const { return versions_.back().value; }
  const std::vector<Version<Value>>& versions() const { return versions_; }
  bool changed() const { return versions_.size() > 1; }
  void push(Value value, OperationIndex operation) {
    versions_.push_back({std::move(value), operation});
  }
  // The newest version, which turned out not to have happened, goes.
  void pop() {
    LAMINA_CHECK(changed());
    versions_.pop_back();
  }
  void settle(Value value) { versions_.assign(1, {std::move(value), OperationIndex::none}); }

 private:
  std::vector<Version<Value>> versions_;
};

// Looks for the cut.
class CutSearch {
 public:
  explicit CutSearch(const Operations& operations);

  // A cell was seen to hold one of the versions for which `matches` is true, and no other.
  // `what` names the cell. False, with `conflict()`: no cut is left that explains it.
  template <class Value>
  bool observe(const std::string& what, const Cell<Value>& cell, const std::vector<bool>& matches) {
    std::vector<OperationIndex> writers;
    for (const Version<Value>& version : cell.versions()) writers.push_back(version.operation);
    return observe_versions(what, writers, matches);
  }
  const std::string& conflict() const { return conflict_; }
  // After all cells: whether an operation that is one step was seen in half.
  bool atomic_operations_are_whole();

  // Any cut that is still possible.
  Tick cut() const { return possible_.back().end; }

 private:
  struct Span {
    Tick begin, end;  // both possible
  };
  struct Remark {
    std::string what;
    std::vector<Span> spans;
  };
  // What the cells that an operation touched say of it: bit 0, it may be missing; bit 1, there.
  struct Presence {
    unsigned allowed = 3;
    std::string said_by;
  };

  bool observe_versions(const std::string& what, const std::vector<OperationIndex>& writers,
                        const std::vector<bool>& matches);
  void note_presence(const std::string& what, const std::vector<OperationIndex>& writers,
                     const std::vector<bool>& matches);
  bool restrict_to(const std::string& what, const std::vector<Span>& spans);
  std::string explain(const Remark& last) const;

  const Operations& operations_;
  std::vector<Span> possible_;
  std::vector<Remark> remarks_;
  std::vector<Presence> presence_;
  std::string conflict_;
};

}  // namespace lamina::sim
