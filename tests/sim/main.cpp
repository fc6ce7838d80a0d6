// SPDX-License-Identifier: Apache-2.0
// The simulator's program. One seed is one run:
//   sim --seed 17                 that run, in this process
//   sim --seeds 1..500            many, each in a process of its own kind of memory, and figures
//   sim --kind steady             what a run is: runs.h; by default random
//   sim --jobs 2                  so many at once
//   sim --at-least 10000          fails if fewer crashes than that were made
//   sim --seed 17 --trace yes     every operation as it begins and ends
//   sim --mutation drop_flush     in the test-only build: succeeds if some seed notices it
//   sim --list-mutations          all that there are, for tests/sim/mutations
// Exit code: 0, every promise was kept; 1, one was not, or a mutation went unnoticed; 2, usage.
#include <malloc.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "engine/recovery_counters.h"
#include "mutations.h"
#include "runs.h"

using namespace lamina;
using namespace lamina::sim;

#if defined(__SANITIZE_ADDRESS__)
// What a crash abandons is not freed on purpose.
extern "C" const char* __asan_default_options();
extern "C" const char* __asan_default_options() {
  return "detect_leaks=0";
}
#endif

namespace {

constexpr uint64_t seeds_per_process = 8;
constexpr size_t histogram_length = 4096;

struct Kind {
  const char* name;
  LifeStatistics (*run)(uint64_t seed, Report& report);
};
constexpr std::array<Kind, 16> kinds{{{"random", random_run},
                                      {"blobs", blobs_run},
                                      {"steady", steady_run},
                                      {"forks", forks_run},
                                      {"nearly_full", nearly_full_run},
                                      {"tiers", tiers_run},
                                      {"members", members_run},
                                      {"full", full_run},
                                      {"fall_back", fall_back_run},
                                      {"damage", damage_run},
                                      {"heal", heal_run},
                                      {"faults", faults_run},
                                      {"lost_disk", lost_disk_run},
                                      {"missing", missing_run},
                                      {"repair", repair_run},
                                      {"exhaustive", exhaustive_run}}};

// What the processes tell each other; lives in shared memory.
struct Totals {
  std::atomic<uint64_t> next, runs, failures;
  std::atomic<uint64_t> crashes, crashes_while_opening, clean_closes, operations, full_answers,
      survived, healed, rebuilt, aged, promoted, evacuated, removed, zeroes;
  std::array<std::atomic<uint64_t>, histogram_length> before_crash;
  std::array<std::atomic<uint64_t>, recovery_branch_count> branches;
};

struct Options {
  Kind kind = kinds[0];
  uint64_t first = 1, last = 1;
  unsigned jobs = 1;
  uint64_t at_least = 0;
  bool many = false;
  const char* mutation = nullptr;
};

bool run_seed(const Options& options, uint64_t seed, Totals& totals) {
  Report report;
  const LifeStatistics statistics = options.kind.run(seed, report);
  ++totals.runs;
  totals.crashes += statistics.crashes;
  totals.crashes_while_opening += statistics.crashes_while_opening;
  totals.clean_closes += statistics.clean_closes;
  totals.operations += statistics.operations;
  totals.full_answers += statistics.full_answers;
  totals.survived += statistics.survived_failures;
  totals.healed += statistics.healed;
  totals.rebuilt += statistics.rebuilt_nodes;
  totals.aged += statistics.aged_bytes;
  totals.promoted += statistics.promoted_bytes;
  totals.evacuated += statistics.evacuated_bytes;
  totals.removed += statistics.removed_blobs;
  totals.zeroes += statistics.zeroes_dropped;
  for (uint64_t operations : statistics.operations_before_crash)
    ++totals.before_crash[std::min<size_t>(operations, histogram_length - 1)];
  for (size_t i = 0; i < recovery_branch_count; ++i)
    totals.branches[i] += recovery_branches_taken[i].exchange(0);
  if (report.ok()) return true;
  ++totals.failures;
  std::printf("seed %llu: %s\n  again: sim --kind %s --seed %llu\n",
              static_cast<unsigned long long>(seed), report.what().c_str(), options.kind.name,
              static_cast<unsigned long long>(seed));
  std::fflush(stdout);
  return false;
}

// Does seeds until there are none, or enough for one process.
[[noreturn]] void child(const Options& options, std::atomic<uint64_t>& current, Totals& totals) {
  for (uint64_t i = 0; i < seeds_per_process; ++i) {
    const uint64_t seed = totals.next.fetch_add(1);
    if (seed > options.last) break;
    if (options.mutation && totals.failures > 0) break;
    current = seed;
    run_seed(options, seed, totals);
  }
  std::fflush(stdout);
  _exit(0);
}

void run_many(const Options& options, Totals& totals, std::atomic<uint64_t>* current) {
  std::vector<pid_t> children(options.jobs, 0);
  const auto more = [&] {
    return totals.next <= options.last && !(options.mutation && totals.failures > 0);
  };
  unsigned living = 0;
  for (unsigned job = 0;;) {
    for (job = 0; job < options.jobs; ++job) {
      if (children[job] != 0 || !more()) continue;
      current[job] = 0;
      std::fflush(stdout);
      children[job] = fork();
      if (children[job] == 0) child(options, current[job], totals);
      ++living;
    }
    if (living == 0) return;
    int status = 0;
    const pid_t ended = waitpid(-1, &status, 0);
    const auto at = std::find(children.begin(), children.end(), ended);
    if (at == children.end()) continue;
    const auto slot = static_cast<size_t>(at - children.begin());
    *at = 0;
    --living;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) continue;
    ++totals.failures;
    std::printf("seed %llu: the process died (%s %d)\n  again: sim --kind %s --seed %llu\n",
                static_cast<unsigned long long>(current[slot].load()),
                WIFSIGNALED(status) ? "signal" : "exit code",
                WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status), options.kind.name,
                static_cast<unsigned long long>(current[slot].load()));
  }
}

uint64_t median(const Totals& totals) {
  uint64_t all = 0, sum = 0;
  for (const auto& count : totals.before_crash) all += count;
  for (size_t i = 0; i < histogram_length; ++i) {
    sum += totals.before_crash[i];
    if (2 * sum >= all) return i;
  }
  return 0;
}

void print(const Options& options, const Totals& totals) {
  const auto number = [](const std::atomic<uint64_t>& value) {
    return static_cast<unsigned long long>(value.load());
  };
  std::printf(
      "%s: %llu runs, %llu failed; %llu crashes (%llu while opening), %llu clean closes, "
      "%llu operations, %llu before a crash (median), %llu times full, %llu failures survived, "
      "%llu blocks healed, %llu nodes rebuilt, %llu MiB aged, %llu KiB promoted, %llu MiB evacuated, %llu blobs removed, "
      "%llu zeroes let go\n",
      options.kind.name, number(totals.runs), number(totals.failures), number(totals.crashes),
      number(totals.crashes_while_opening), number(totals.clean_closes), number(totals.operations),
      static_cast<unsigned long long>(median(totals)), number(totals.full_answers),
      number(totals.survived), number(totals.healed), number(totals.rebuilt), number(totals.aged) >> 20, number(totals.promoted) >> 10,
      number(totals.evacuated) >> 20, number(totals.removed), number(totals.zeroes));
  std::printf("recovery:");
  for (size_t i = 0; i < recovery_branch_count; ++i)
    std::printf(" %s %llu", recovery_branch_names[i].data(), number(totals.branches[i]));
  std::printf("\n");
}

bool parse_range(const char* from, Options& options) {
  char* end = nullptr;
  options.first = std::strtoull(from, &end, 10);
  if (std::strncmp(end, "..", 2) != 0) return false;
  options.last = std::strtoull(end + 2, &end, 10);
  return *end == 0 && options.first <= options.last;
}

bool parse(int argc, char** argv, Options& options) {
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string key = argv[i];
    const char* value = argv[i + 1];
    if (key == "--seed") {
      options.first = options.last = std::strtoull(value, nullptr, 10);
    } else if (key == "--seeds") {
      options.many = true;
      if (!parse_range(value, options)) return false;
    } else if (key == "--jobs") {
      options.jobs = static_cast<unsigned>(std::clamp(std::atoi(value), 1, 16));
    } else if (key == "--at-least") {
      options.at_least = std::strtoull(value, nullptr, 10);
    } else if (key == "--mutation") {
      options.mutation = value;
    } else if (key == "--trace") {
      Operations::trace = std::strcmp(value, "yes") == 0;
    } else if (key == "--kind") {
      const auto found = std::find_if(kinds.begin(), kinds.end(), [&](const Kind& kind) {
        return kind.name == std::string(value);
      });
      if (found == kinds.end()) return false;
      options.kind = *found;
    } else {
      return false;
    }
  }
  return argc % 2 == 1;
}

bool mutate([[maybe_unused]] const char* name) {
#ifdef LAMINA_MUTATIONS
  if (const KnownMutation* known = find_mutation(name)) {
    set_mutation(known->mutation);
    return true;
  }
#endif
  return false;
}

// A line each, for tests/sim/mutations: name, kind of runs, first seed, rules, what is left out.
int list_mutations() {
  for (const KnownMutation& known : known_mutations())
    std::printf("%s\t%s\t%llu\t%s\t%s\n", known.name, known.kind,
                static_cast<unsigned long long>(known.from), known.rules, known.removed);
  return 0;
}

// A run makes and drops whole disks over and over; giving their memory back each time takes as long.
void keep_memory() {
  mallopt(M_MMAP_THRESHOLD, 32 << 20);  // the most that it takes
  mallopt(M_TRIM_THRESHOLD, std::numeric_limits<int>::max());
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 2 && std::strcmp(argv[1], "--list-mutations") == 0) return list_mutations();
  keep_memory();
  Options options;
  if (!parse(argc, argv, options) || (options.mutation && !mutate(options.mutation))) {
    std::fprintf(
        stderr,
        "usage: sim [--kind "
        "random|blobs|exhaustive|steady|forks|tiers|members|full|fall_back|damage|heal|faults|lost_disk|missing|repair] [--seed N "
        "| "
        "--seeds A..B]\n"
        "           [--jobs N] [--at-least CRASHES] [--mutation NAME] [--trace yes]\n");
    return 2;
  }
  const size_t bytes = sizeof(Totals) + options.jobs * sizeof(std::atomic<uint64_t>);
  void* const shared =
      mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (shared == MAP_FAILED) return 2;
  auto& totals = *new (shared) Totals{};
  auto* const current =
      new (static_cast<std::byte*>(shared) + sizeof(Totals)) std::atomic<uint64_t>[options.jobs];
  totals.next = options.first;
  if (options.many)
    run_many(options, totals, current);
  else
    run_seed(options, options.first, totals);
  print(options, totals);
  if (options.mutation) {
    std::printf("%s %s\n", options.mutation, totals.failures > 0 ? "is caught" : "goes unnoticed");
    return totals.failures > 0 ? 0 : 1;
  }
  if (totals.crashes < options.at_least) {
    std::printf("too few crashes\n");
    return 1;
  }
  return totals.failures > 0 ? 1 : 0;
}
