// SPDX-License-Identifier: Apache-2.0
// The deliberate bugs of engine/mutation.h, and what is known to catch each: which rule is taken
// out, and the runs that notice. tests/sim/mutations runs them all and makes the table of it.
// Thread-safety: constants.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "engine/mutation.h"

namespace lamina::sim {

struct KnownMutation {
  Mutation mutation;
  const char* name;
  const char* rules;    // whose rule it is, by id
  const char* removed;  // what is left out, for people
  const char* kind;     // of the runs that notice
  uint64_t from;        // the first seed of that kind that does
};

std::span<const KnownMutation> known_mutations();
const KnownMutation* find_mutation(std::string_view name);  // null: none is called so

}  // namespace lamina::sim
