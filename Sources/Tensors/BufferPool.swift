import Synchronization

import Essentials

/// Host memory that is handed out, given back and handed out again, so that a training step in the steady state
/// allocates nothing and every step needs what the first one needed.
final class BufferPool: Sendable {
  private struct Buffer: @unchecked Sendable {
    let pointer: UnsafeMutableRawPointer
    let size: SizeClass
  }

  /// One of eight sizes per power of two, so that slightly different requests share buffers.
  private struct SizeClass {
    /// Eight times the exponent, and which eighth on from there.
    let index: Int

    /// The smallest that holds `byteCount` bytes.
    init(holding byteCount: Int) {
      let least = max(byteCount, 64)
      let step = max(64, (1 << Self.exponent(least)) / 8)
      let size = (least + step - 1) / step * step
      index = 8 * Self.exponent(size) + (size >> (Self.exponent(size) - 3)) & 7
    }

    init(index: Int) { self.index = index }

    var byteCount: Int { (8 + index & 7) << (index / 8 - 3) }

    private static func exponent(_ size: Int) -> Int { Int.bitWidth - 1 - size.leadingZeroBitCount }
  }

  private struct Shelves {
    /// By the index of the size.
    var free = [[UnsafeMutableRawPointer]](repeating: [], count: 8 * Int.bitWidth)
    /// All buffers, handed out or not.
    var bytesAllocated = 0
    /// What was asked for, rounded.
    var bytesInUse = 0
    var peakBytesInUse = 0

    /// A free buffer of this size or little more, else a new one.
    mutating func take(_ size: SizeClass) -> Buffer {
      bytesInUse += size.byteCount
      peakBytesInUse = max(peakBytesInUse, bytesInUse)
      // Batches of other lengths leave large buffers of other sizes.
      let most = size.byteCount < BufferPool.largeSize ? size.byteCount : size.byteCount + size.byteCount / 4
      var fitting = size
      while fitting.byteCount <= most {
        if let pointer = free[fitting.index].popLast() { return Buffer(pointer: pointer, size: fitting) }
        fitting = SizeClass(index: fitting.index + 1)
      }
      makeRoom(for: size.byteCount)
      bytesAllocated += size.byteCount
      return Buffer(pointer: Self.allocate(size.byteCount), size: size)
    }

    /// Buffers of sizes that nobody asks for again go, the largest first, before all together take more than a sixteenth
    /// over what was ever in use at once.
    private mutating func makeRoom(for byteCount: Int) {
      let limit = peakBytesInUse + peakBytesInUse / 16 + (16 << 20)
      for index in free.indices.reversed() {
        while bytesAllocated + byteCount > limit, let pointer = free[index].popLast() {
          deallocate(pointer, SizeClass(index: index).byteCount)
        }
      }
    }

    mutating func put(_ buffer: Buffer, asked size: SizeClass) {
      bytesInUse -= size.byteCount
      free[buffer.size.index].append(buffer.pointer)
    }

    mutating func trim() {
      for index in free.indices {
        for pointer in free[index] { deallocate(pointer, SizeClass(index: index).byteCount) }
        free[index] = []
      }
    }

    private mutating func deallocate(_ pointer: UnsafeMutableRawPointer, _ size: Int) {
      bytesAllocated -= size
      if size < BufferPool.largeSize { pointer.deallocate() } else { munmap(pointer, size) }
    }

    /// Large buffers are mapped, so that the system has them back at once when they go, and pages that nobody touches
    /// take no memory. Their whole huge pages are asked for as such: a processor that walks one page table entry for
    /// 2 MB instead of 512 reads up to twice as fast, and the system clears it in one go.
    private static func allocate(_ size: Int) -> UnsafeMutableRawPointer {
      // Where the system has no memory left, this ends the process, and so would the next allocation of anybody.
      guard size >= BufferPool.largeSize else { return .allocate(byteCount: size, alignment: 64) }
      let hugePage = BufferPool.hugePageSize
      let slack = size >= hugePage ? hugePage : 0
      guard let base = mmap(nil, size + slack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANON, -1, 0),
        base != MAP_FAILED
      else { preconditionFailure("the system has no \(size) bytes of memory left") }
      guard slack > 0 else { return base }
      let before = (hugePage - Int(bitPattern: base) % hugePage) % hugePage
      if before > 0 { munmap(base, before) }
      let aligned = base + before
      if slack > before { munmap(aligned + BufferPool.wholePages(size), slack - before) }
      #if os(Linux)
        madvise(aligned, size / hugePage * hugePage, MADV_HUGEPAGE)
      #endif
      return aligned
    }
  }
  private static let largeSize = 1 << 17
  private static let hugePageSize = 2 << 20

  private static func wholePages(_ size: Int) -> Int {
    let pageSize = Int(sysconf(Int32(_SC_PAGESIZE)))
    return (size + pageSize - 1) / pageSize * pageSize
  }

  // The pointers on the shelves belong to nobody else, so moving them between threads is safe.
  private struct Contents: @unchecked Sendable { var shelves = Shelves() }
  private let contents = Mutex(Contents())

  /// A buffer of at least `byteCount` bytes, 64-byte aligned, its content undefined.
  func storage(byteCount: Int) -> Storage {
    let size = SizeClass(holding: byteCount)
    let buffer = contents.withLock { $0.shelves.take(size) }
    return Storage(base: buffer.pointer, byteCount: buffer.size.byteCount) { [self] pointer, _ in
      contents.withLock { $0.shelves.put(Buffer(pointer: pointer, size: buffer.size), asked: size) }
    }
  }

  /// Gives what nobody uses back to the system.
  func trim() { contents.withLock { $0.shelves.trim() } }

  /// Bytes handed out now, and the most there ever were.
  var statistics: (inUse: Int, peak: Int) {
    contents.withLock { ($0.shelves.bytesInUse, $0.shelves.peakBytesInUse) }
  }

  deinit { trim() }
}
