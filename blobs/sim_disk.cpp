// SPDX-License-Identifier: Apache-2.0
#include "blobs/sim_disk.h"

#include <cerrno>
#include <cstring>

#include "base/check.h"
#include "blobs/sim_medium_state.h"

namespace lamina {

class SimDisk final : public Disk {
 public:
  SimDisk(SimMedium& medium, SimExecutor& executor)
      : medium_(*medium.state_), executor_(executor), size_(medium.size()) {
    LAMINA_CHECK(!medium_.cache.anything_under_way());
    medium_.streams.opened();
  }

  uint64_t size() const override { return size_; }
  const DiskTraits& traits() const override { return medium_.traits; }
  const std::string& name() const override { return medium_.name; }
  void submit(DiskOperation& operation) override;
  Result<uint64_t> refresh_size() override { return size_ = medium_.size; }

  void set_faults(const SimFaults& faults) {
    faults_ = faults;
    reads_ = writes_ = flushes_ = 0;
  }

 private:
  void submit_read(DiskOperation& operation);
  void submit_write(DiskOperation& operation);
  bool same_as_before(const DiskOperation& operation) const;
  void submit_flush(DiskOperation& operation);
  void submit_discard(DiskOperation& operation);
  int finish_write(const DiskOperation& operation, SimCache::Ticket ticket, bool fails);
  void check_write(const DiskOperation& operation);

  bool with_probability(double p) {
    return p > 0 && std::uniform_real_distribution<double>(0, 1)(executor_.random()) < p;
  }
  // Counts one more call and says whether it is the one that is to fail.
  bool fails(uint64_t& calls, uint64_t at, uint64_t every = 0) const {
    return ++calls == at || (every > 0 && calls % every == 0) || faults_.dead;
  }
  void complete_with(DiskOperation& operation, int error) {
    executor_.complete_later(operation, [error] { return error; });
  }

  SimMedium::State& medium_;
  SimExecutor& executor_;
  uint64_t size_;
  SimFaults faults_;
  uint64_t reads_ = 0, writes_ = 0, flushes_ = 0;  // since the faults were set
};

void SimDisk::submit(DiskOperation& operation) {
  if (executor_.crashed()) return;  // nobody is there any more
  if (operation.offset > size_ || operation.length > size_ - operation.offset) {
    LAMINA_CHECK(operation.kind == DiskOperation::Kind::read);
    return complete_with(operation, EIO);
  }
  switch (operation.kind) {
    case DiskOperation::Kind::read:
      return submit_read(operation);
    case DiskOperation::Kind::write:
    case DiskOperation::Kind::write_through:
      return submit_write(operation);
    case DiskOperation::Kind::flush:
      return submit_flush(operation);
    case DiskOperation::Kind::discard:
      if (faults_.fail_discards) return complete_with(operation, EIO);
      medium_.bytes_discarded += operation.length;
      return submit_discard(operation);
    case DiskOperation::Kind::prepare:
      if (faults_.dead || faults_.fail_discards)
        return complete_with(operation, faults_.dead ? EIO : ENOSPC);
      operation.zeroed = operation.length;
      medium_.bytes_zeroed += operation.length;
      return submit_discard(operation);
  }
}

void SimDisk::submit_read(DiskOperation& operation) {
  ++medium_.reads;
  const bool failing = fails(reads_, faults_.fail_read_at) || with_probability(faults_.fail_read);
  executor_.complete_later(operation, [this, &operation, failing] {
    if (failing) return EIO;
    return medium_.cache.read(operation.offset, {operation.data, operation.length}) ? 0 : EIO;
  });
}

bool SimDisk::same_as_before(const DiskOperation& operation) const {
  std::vector<std::byte> there(operation.length);
  return medium_.cache.read(operation.offset, there) &&
         std::memcmp(there.data(), operation.data, operation.length) == 0;
}

void SimDisk::check_write(const DiskOperation& operation) {
  if (medium_.cache.write_under_way(operation.offset, operation.length))
    medium_.violation("a write at byte " + std::to_string(operation.offset) +
                      " overlaps one that is under way");
  const std::string violation = medium_.streams.write(
      operation.offset, operation.length, [this, &operation] { return same_as_before(operation); });
  if (!violation.empty()) medium_.violation(violation);
}

void SimDisk::submit_write(DiskOperation& operation) {
  ++medium_.writes;
  medium_.bytes_written += operation.length;
  check_write(operation);
  const auto ticket =
      medium_.cache.begin_write(operation.offset, {operation.data, operation.length});
  bool failing = fails(writes_, faults_.fail_write_at, faults_.fail_write_every) ||
                 with_probability(faults_.fail_write);
  if (operation.kind == DiskOperation::Kind::write_through) {
    ++medium_.flushes;
    const bool flush_fails = fails(flushes_, faults_.fail_flush_at, faults_.fail_flush_every) ||
                             with_probability(faults_.fail_flush);
    failing = failing || flush_fails;
  }
  executor_.complete_later(operation, [this, &operation, ticket, failing] {
    return finish_write(operation, ticket, failing);
  });
}

int SimDisk::finish_write(const DiskOperation& operation, SimCache::Ticket ticket, bool failing) {
  SimCache& cache = medium_.cache;
  const auto submitted = cache.written_bytes(ticket);
  if (!submitted.empty() && std::memcmp(submitted.data(), operation.data, submitted.size()) != 0)
    medium_.violation("memory changed while it was being written to byte " +
                      std::to_string(operation.offset));
  if (failing) {
    cache.tear_write(ticket, executor_.random());
    return EIO;
  }
  if (with_probability(faults_.lose_write)) {
    cache.lose_write(ticket);
  } else if (with_probability(faults_.misdirect_write)) {
    const uint64_t places = ((size_ - operation.length) >> block_shift) + 1;
    cache.complete_write_at(ticket, (executor_.random()() % places) << block_shift);
  } else if (operation.kind == DiskOperation::Kind::write_through && !faults_.lie_about_flushes) {
    cache.complete_write_through(ticket);
  } else {
    cache.complete_write(ticket);
  }
  if (!medium_.traits.write_cache) cache.flush(cache.flush_point());
  return 0;
}

void SimDisk::submit_flush(DiskOperation& operation) {
  ++medium_.flushes;
  const bool failing = fails(flushes_, faults_.fail_flush_at, faults_.fail_flush_every) ||
                       with_probability(faults_.fail_flush);
  const auto point = medium_.cache.flush_point();
  executor_.complete_later(operation, [this, failing, point] {
    if (failing) {
      medium_.cache.fail_flush(point);
      return EIO;
    }
    if (!faults_.lie_about_flushes) medium_.cache.flush(point);
    return 0;
  });
}

void SimDisk::submit_discard(DiskOperation& operation) {
  ++medium_.discards;
  if (medium_.cache.write_under_way(operation.offset, operation.length))
    medium_.violation("a discard at byte " + std::to_string(operation.offset) +
                      " overlaps a write that is under way");
  medium_.streams.discard(operation.offset, operation.length);
  const auto ticket = medium_.cache.begin_discard(operation.offset, operation.length);
  executor_.complete_later(operation, [this, ticket] {
    if (faults_.dead) {
      medium_.cache.forget_discard(ticket);
      return EIO;
    }
    medium_.cache.complete_discard(ticket, executor_.random());
    return 0;
  });
}

std::unique_ptr<Disk> open_sim_disk(SimMedium& medium, SimExecutor& executor) {
  return std::make_unique<SimDisk>(medium, executor);
}

void set_faults(Disk& sim_disk, const SimFaults& faults) {
  auto* const disk = dynamic_cast<SimDisk*>(&sim_disk);
  LAMINA_CHECK(disk != nullptr);
  disk->set_faults(faults);
}

}  // namespace lamina
