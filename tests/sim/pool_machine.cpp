// SPDX-License-Identifier: Apache-2.0
#include "pool_machine.h"

#include <algorithm>
#include <array>
#include <map>

#include "base/buffer.h"
#include "base/check.h"
#include "blobs/segment.h"
#include "blobs/slot.h"
#include "content.h"
#include "pool_store.h"
#include "text.h"

namespace lamina::sim {
namespace {

template <class Id>
void randomise(Id& id, std::mt19937_64& random) {
  for (std::byte& byte : id) byte = static_cast<std::byte>(random());
}

constexpr SimFaults every_write_fails{.fail_write_every = 1, .fail_flush_every = 1};

Blobs open_blobs(const std::vector<std::unique_ptr<SimMedium>>& media,
                 const std::vector<Superblock>& superblocks, SimExecutor& executor) {
  Blobs blobs;
  for (size_t i = 0; i < media.size(); ++i)
    blobs.push_back(std::make_shared<Blob>(open_sim_disk(*media[i], executor), superblocks[i]));
  return blobs;
}

// Within a life what is read often is looked for a few times.
constexpr uint64_t looked_at_often_ns = 400'000'000;

}  // namespace

PoolOptions random_pool_options(std::mt19937_64& random) {
  PoolOptions options;
  options.disks = random() % 3 == 0 ? 2 : 1;
  options.block_devices = random() % 4 != 0;
  options.disk_bytes = (64 + random() % 65) * mib;
  options.crash_within = random() % 2 ? 10 : 80;
  Settings& settings = options.settings;
  settings.nodes_bytes = (random() % 2 ? 64 : 1024) * kib;
  settings.layers_bytes = (random() % 2 ? 64 : 4096) * kib;
  settings.tail_bytes = (random() % 2 ? 1 : 4) * mib;
  settings.sums_bytes = 256 * kib;
  settings.checkpoint_log_bytes = (random() % 3 ? 1 : 8) * mib;
  return options;
}

void add_tiers(PoolOptions& options, std::mt19937_64& random) {
  constexpr std::array<std::array<BlobKind, 2>, 3> kinds{
      {{BlobKind::transparent, BlobKind::compression},
       {BlobKind::compression, BlobKind::transparent},
       {BlobKind::transparent, BlobKind::transparent}}};
  const auto& chosen = kinds[random() % kinds.size()];
  options.lower.assign(chosen.begin(), chosen.begin() + 1 + static_cast<long>(random() % 2));
  for (unsigned tier = 0; tier < options.lower.size(); ++tier) {
    Settings::Aging aging;
    aging.keep_free_percent = static_cast<double>(20 + random() % 60);
    aging.idle_ns = random() % 2 ? 1'000'000'000'000 : random() % 200'000'000;
    // No draw of its own, so that all others stay what they were.
    const bool promotes = tier == 0 && aging.keep_free_percent < 60;
    options.settings.promote = options.settings.promote || promotes;
    if (promotes) aging.idle_ns = looked_at_often_ns;
    options.settings.aging[tier == 0 ? text("fast", 0) : text("lower", tier)] = aging;
    if (promotes) options.settings.aging[text("fast", 1)] = aging;
  }
}

PoolMachine::PoolMachine(PoolOptions options, uint64_t seed, Report& report)
    : options_(std::move(options)), report_(report) {
  make_images();
  format(seed);
}

// Of one block, of one and a part, and of many.
void PoolMachine::make_images() {
  constexpr std::array<uint64_t, 3> sizes{block_size, block_size + 1234, 90 * block_size + 77};
  for (size_t i = 0; i < sizes.size(); ++i) {
    const OutsideImage image{text("/images/", i), 1'000'000 + i, sizes[i]};
    std::vector<std::byte> bytes(round_up(image.bytes, block_size));
    for (uint64_t at = 0; at < bytes.size(); at += block_size)
      Content::tagged(image.tag, at / block_size, 1).fill(std::span(bytes).subspan(at, block_size));
    bytes.resize(image.bytes);
    images_.make(image.path, std::move(bytes));
    outside_.push_back(image);
  }
}

PoolMachine::~PoolMachine() = default;

void PoolMachine::format(uint64_t seed) {
  std::mt19937_64 random(seed);
  Uuid pool;
  Secret secret;
  randomise(pool, random);
  randomise(secret, random);
  const unsigned disks = options_.disks + static_cast<unsigned>(options_.lower.size());
  for (unsigned i = 0; i < disks; ++i) {
    const bool lower = i >= options_.disks;
    add_medium(text("disk", i));
    const uint64_t segment =
        lower ? options_.segment_bytes << random() % 2 : options_.segment_bytes;
    const auto plan = Blob::plan(options_.disk_bytes, segment, 64 * kib);
    LAMINA_CHECK(plan.has_value());
    Superblock superblock;
    superblock.pool = pool;
    superblock.secret = secret;
    superblock.pool_name = "simulated";
    superblock.blob = BlobId{static_cast<uint16_t>(i)};
    randomise(superblock.blob_uuid, random);
    superblock.blob_name = text("fast", i);
    if (lower) {
      superblock.tier = 1 + i - options_.disks;
      superblock.kind = options_.lower[superblock.tier - 1];
      superblock.blob_name = text("lower", superblock.tier);
    }
    plan->write_to(superblock);
    adopt(i, superblock);
  }
  power_on(random());
  auto blobs = open_blobs(media_, superblocks_, *executor_);
  Result<> result;
  LAMINA_CHECK(executor_->run_until(Pool::format(blobs, Attributes{}), result));
  if (!result) report_.violation("format: " + result.error().message);
  blobs.clear();
  power_off();
}

void PoolMachine::add_medium(const std::string& name) {
  media_.push_back(std::make_unique<SimMedium>(name, options_.disk_bytes));
  media_.back()->on_violation([this](const std::string& what) { report_.violation(what); });
  superblocks_.emplace_back();
  watched_.push_back(0);
  if (!options_.block_devices) return;
  DiskTraits traits = media_.back()->traits();
  traits.block_device = true;
  media_.back()->set_traits(traits);
}

void PoolMachine::put_away(size_t disk) {
  const auto at = static_cast<std::ptrdiff_t>(disk);
  put_away_.push_back(std::move(media_[disk]));
  media_.erase(media_.begin() + at);
  superblocks_.erase(superblocks_.begin() + at);
  watched_.erase(watched_.begin() + at);
  if (disk < disks_.size()) disks_.erase(disks_.begin() + at);
}

void PoolMachine::take_away(size_t disk) {
  const auto at = static_cast<std::ptrdiff_t>(disk);
  away_ = {std::move(media_[disk]), superblocks_[disk], watched_[disk]};
  media_.erase(media_.begin() + at);
  superblocks_.erase(superblocks_.begin() + at);
  watched_.erase(watched_.begin() + at);
}

void PoolMachine::bring_back() {
  media_.push_back(std::move(away_.medium));
  superblocks_.push_back(away_.superblock);
  watched_.push_back(away_.watched);
}

std::unique_ptr<Store> PoolMachine::store_of(Pool& pool) {
  return std::make_unique<PoolStore>(
      pool, outside_, [this] { return grow(); },
      [this](uint64_t choice) { return change_members(choice); });
}

bool PoolMachine::is_member(size_t disk) const {
  const std::vector<BlobStatus> blobs = pool_->status().blobs;
  return std::ranges::any_of(
      blobs, [&](const BlobStatus& blob) { return blob.path == media_[disk]->name(); });
}

// What a crash left of one that was being added or removed.
void PoolMachine::put_away_strangers() {
  for (size_t disk = media_.size(); disk-- > 0;)
    if (!is_member(disk)) put_away(disk);
}

// Header and summary places may be written again: at the seal and by the stamp. Where the back
// summary begins is known once the segment is sealed.
void PoolMachine::adopt(size_t disk, const Superblock& superblock) {
  superblocks_[disk] = superblock;
  if (!options_.block_devices) return;
  SimMedium& medium = *media_[disk];
  const Blob blob(nullptr, superblock);  // for its geometry
  const uint32_t blocks = blob.segment_blocks();
  // A crash may take back that it has grown, and the pool opens as if it never had.
  if (watched_[disk] > blob.segment_count()) {
    watched_[disk] = blob.segment_count();
    medium.unwatch_from(blob.offset(blob.segment_count() - 1, 0) + blob.segment_bytes());
  }
  for (uint32_t& segment = watched_[disk]; segment < blob.segment_count(); ++segment) {
    const uint64_t offset = blob.offset(segment, 0);
    medium.watch({offset, blob.segment_bytes(), [&medium, offset, blocks](uint32_t block) {
                    // A seal that a crash tore is made again, whole.
                    if (block == 0 || block + 4 >= blocks) return true;
                    Buffer first(block_size);
                    medium.read(offset, first.span());
                    const auto header = unpack_segment_header(first.span());
                    // One whose header a crash tore is healed: sealed again, in another life.
                    if (!header) return block <= 1 || block + blocks / 4 >= blocks;
                    if (block < payload_begin(header->kind, header->blocks, header->front_blocks))
                      return true;
                    return header->state != SegmentState::open && block >= header->used_end;
                  }});
  }
}

void PoolMachine::power_on(uint64_t seed) {
  executor_ = std::make_unique<SimExecutor>(seed, now_ns_);
}

// Where what was written last lies on a disk that takes no writes, a pool does not open until it
// does.
Task<Result<>> PoolMachine::open() {
  auto opening = open_once(failed_.has_value());
  auto opened = co_await opening;
  if (opened || !failed_ || !opened.error().message.starts_with("what was written last"))
    co_return opened;
  for (const auto& medium : media_) medium->process_killed(executor_->random());
  auto again = open_once(false);
  opened = co_await again;
  if (opened) set_faults(*disks_[*failed_], every_write_fails);
  co_return opened;
}

Task<Result<>> PoolMachine::open_once(bool fails) {
  Blobs blobs;
  disks_.clear();
  found_.clear();
  for (size_t i = 0; i < media_.size(); ++i) {
    if (options_.keeps_found) found_.push_back({media_[i]->clone(), {}});
    std::shared_ptr<Disk> disk = open_sim_disk(*media_[i], *executor_);
    auto finding = Blob::find(*disk);
    auto found = co_await finding;
    disks_.push_back(disk);
    if (!found) continue;  // if it is a member, it is missed
    adopt(i, found->superblock);
    if (options_.keeps_found) found_[i].superblock = found->superblock;
    blobs.push_back(std::make_shared<Blob>(std::move(disk), found->superblock));
  }
  if (fails) set_faults(*disks_[*failed_], every_write_fails);
  Settings settings = options_.settings;
  settings.open_image = open_image_;
  settings.force = is_away();
  settings.log = [this, told = settings.log](Settings::Severity severity, const std::string& what) {
    // A recovery that is tried again without a disk is one more.
    if (what.ends_with("the pool opens without writing to that disk"))
      for (const auto& medium : media_) medium->begin_life();
    told(severity, what);
  };
  auto task = Pool::open(std::move(blobs), std::move(settings));
  Result<std::unique_ptr<Pool>> pool = co_await task;
  if (!pool) co_return forward_error(pool);
  pool_ = std::move(*pool);
  if (!found_.empty())
    for (size_t i = media_.size(); i-- > 0;)
      if (!is_member(i)) found_.erase(found_.begin() + static_cast<std::ptrdiff_t>(i));
  put_away_strangers();
  store_ = store_of(*pool_);
  co_return Result<>{};
}

Task<Result<>> PoolMachine::grow() {
  for (const auto& medium : media_)
    if (medium->size() < 2 * options_.disk_bytes)
      medium->grow(medium->size() + round_down(options_.disk_bytes / 3, block_size));
  auto growing = pool_->grow("");
  const auto grown = co_await growing;
  if (!grown) co_return std::unexpected(grown.error());
  for (const GrownBlob& blob : *grown)
    for (size_t i = 0; i < media_.size(); ++i)
      if (media_[i]->name() == blob.path) adopt(i, *Blob::grown(superblocks_[i], blob.size));
  co_return Result<>{};
}

Task<Result<>> PoolMachine::change_members(uint64_t choice) {
  using State = EvacuationStatus::State;
  const PoolStatus status = pool_->status();
  const auto leaving = std::ranges::find(status.blobs, BlobUse::leaving, &BlobStatus::use);
  const uint64_t kind = choice % 8;
  choice /= 8;
  const std::string& any = status.blobs[choice % status.blobs.size()].name;
  Result<> result;
  if (leaving == status.blobs.end() && kind < 3) {
    if (media_.size() >= options_.most_disks) co_return Result<>{};
    auto adding = add(choice);
    result = co_await adding;
  } else if (leaving == status.blobs.end() && kind < 7) {
    auto evacuating = pool_->evacuate(any);
    result = co_await evacuating;
  } else if (leaving == status.blobs.end()) {
    auto removing = remove(any);
    result = co_await removing;
  } else if (kind == 0) {
    auto keeping = pool_->keep(leaving->name);
    result = co_await keeping;
  } else if (kind == 1 || status.evacuation.state == State::stopped) {
    auto evacuating = pool_->evacuate(kind == 1 ? any : leaving->name);
    result = co_await evacuating;
  } else if (kind == 2 || status.evacuation.state == State::empty) {
    auto removing = remove(leaving->name);
    result = co_await removing;
  } else {
    co_await Sleep{1'000'000};
  }
  // What cannot be is refused; and a disk that fails may do so under the change.
  const bool fails = options_.fails != Failing::nothing;
  if (!result && fails && result.error().code == Code::io) co_return Result<>{};
  if (!result)
    for (const Code answer : {Code::busy, Code::no_space, Code::invalid, Code::not_found})
      if (result.error().code == answer) co_return Result<>{};
  co_return result;
}

Task<Result<>> PoolMachine::add(uint64_t choice) {
  const std::string name = text("added", ++disk_names_);
  add_medium(name);
  const size_t at = media_.size() - 1;
  NewBlob blob;
  blob.name = name;
  std::mt19937_64 random(choice);
  randomise(blob.uuid, random);
  blob.tier = static_cast<uint32_t>(choice % 4);
  blob.kind = static_cast<BlobKind>(1 + choice / 4 % 3);
  if (blob.tier == 0) blob.kind = BlobKind::journal;
  blob.segment_bytes = options_.segment_bytes << choice / 12 % 2;
  const std::vector<BlobStatus> blobs = pool_->status().blobs;
  if (blob.tier == 0)
    for (const BlobStatus& other : blobs)
      if (other.tier == 0)
        blob.segment_bytes = std::max<uint64_t>(blob.segment_bytes, other.segment_bytes);
  blob.erase_bytes = 64 * kib;
  // Before anything is written to it.
  const auto plan = Blob::plan(options_.disk_bytes, blob.segment_bytes, blob.erase_bytes);
  LAMINA_CHECK(plan.has_value());
  Superblock geometry;
  geometry.kind = blob.kind;
  plan->write_to(geometry);
  adopt(at, geometry);
  std::shared_ptr<Disk> disk = open_sim_disk(*media_[at], *executor_);
  disks_.push_back(disk);
  auto adding = pool_->add_blob(disk, blob);
  const Result<> added = co_await adding;
  const auto now = std::ranges::find(media_, name, [](const auto& one) { return one->name(); });
  const auto where = static_cast<size_t>(now - media_.begin());
  if (!added) {
    // A slot may name it all the same; if none does, the next life puts it away.
    if (!is_member(where)) put_away(where);
    co_return added;
  }
  auto finding = Blob::find(*disk);
  const auto found = co_await finding;
  if (found) adopt(where, found->superblock);
  co_return Result<>{};
}

Task<Result<>> PoolMachine::remove(std::string name) {
  std::string path;
  for (const BlobStatus& blob : pool_->status().blobs)
    if (blob.name == name) path = blob.path;
  auto removing = pool_->remove_blob(name);
  const Result<> removed = co_await removing;
  const auto gone = std::ranges::find(media_, path, [](const auto& one) { return one->name(); });
  if (removed) ++removed_blobs_;
  if (removed && gone != media_.end()) put_away(static_cast<size_t>(gone - media_.begin()));
  co_return removed;
}

Store& PoolMachine::store() {
  return *store_;
}

SimFaults PoolMachine::choose_faults(std::mt19937_64& random) const {
  SimFaults faults;
  const uint64_t at = 1 + random() % options_.crash_within;
  switch (options_.fails) {
    case Failing::nothing:
      break;
    case Failing::once:
      switch (random() % 4) {
        case 0:
          faults.fail_write_at = at;
          break;
        case 1:
          faults.fail_flush_at = 1 + at % 6;
          break;
        case 2:
          faults.fail_write_every = 200 + random() % 300;
          break;
        default:
          faults.fail_flush_every = 12 + random() % 30;
          break;
      }
      break;
    case Failing::disk:
      return every_write_fails;
    case Failing::often:
      faults.dead = random() % 8 == 0;
      faults.fail_write = static_cast<double>(random() % 8) / 100;
      faults.fail_flush = static_cast<double>(random() % 40) / 100;
      break;
    case Failing::read:
      faults.fail_read_at = at;
      break;
    case Failing::reads:
      faults.fail_read = static_cast<double>(4 + random() % 12) / 100;
      break;
  }
  return faults;
}

void PoolMachine::arm_crash(std::mt19937_64& random) {
  uint64_t within = options_.crash_within;
  if (options_.fails != Failing::nothing) {
    const size_t disk = failed_.value_or(random() % disks_.size());
    set_faults(*disks_[disk], choose_faults(random));
    if (options_.fails == Failing::disk) failed_ = disk;
    // Now and then a crash finds the pool in the middle of what it makes of the failure, or soon
    // after.
    if (random() % 2) return;
    within *= 3;
  }
  executor_->crash_after(1 + random() % within);
}

bool PoolMachine::drive(Task<void> task) {
  return executor_->run_until(std::move(task));
}

void PoolMachine::crash(std::mt19937_64& random) {
  // The disks of one machine lose power together; memory that is being written is still there.
  const bool kill = random() % 100 < options_.kill_percent;
  for (const auto& medium : media_)
    kill ? medium->process_killed(random) : medium->power_cut(random);
  if (options_.loses_newest_slot && random() % 2 == 0) lose_newest_slot();
  power_off();
}

// Only one that came after the last that was lost: of the one before it K_old is gone (A4).
void PoolMachine::lose_newest_slot() {
  std::map<CheckpointNumber, std::vector<Location>> slots;
  Buffer block(block_size);
  for (size_t i = 0; i < media_.size(); ++i) {
    const Blob blob(nullptr, superblocks_[i]);
    for (CheckpointNumber place = 0; place < slot_ring_length; ++place)
      for (const uint64_t offset : blob.slot_offsets(place)) {
        media_[i]->read(offset, block.span());
        const auto slot = unpack_slot(block.span(), superblocks_[i].secret, superblocks_[i].blob,
                                      static_cast<uint32_t>(offset / block_size));
        if (slot) slots[slot->number].push_back({media_[i].get(), offset});
      }
  }
  if (slots.size() < 2 || slots.rbegin()->first <= lost_slot_) return;
  lost_slot_ = slots.rbegin()->first;
  std::ranges::fill(block.span(), std::byte{0x5a});
  for (const Location& at : slots.rbegin()->second) at.medium->damage(at.offset, block.span());
}

void PoolMachine::power_off() {
  if (executor_) now_ns_ = executor_->now_ns();
  store_.reset();
  pool_.reset();
  executor_.reset();
}

PoolMachine::Location PoolMachine::locate(Address address) const {
  SimExecutor nobody(0);
  for (size_t i = 0; i < media_.size(); ++i) {
    const Blob blob(open_sim_disk(*media_[i], nobody), superblocks_[i]);
    for (uint32_t segment = 0; segment < blob.segment_count(); ++segment) {
      Buffer first(block_size);
      media_[i]->read(blob.offset(segment, 0), first.span());
      const auto header = unpack_segment_header(first.span());
      if (header && header->generation == address.generation)
        return {media_[i].get(), blob.offset(segment, address.block)};
    }
  }
  return {};
}

}  // namespace lamina::sim
