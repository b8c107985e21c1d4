import Synchronization

/// Host memory that is handed out, given back and handed out again, so that a training step in the steady state
/// allocates nothing and every step needs what the first one needed.
final class BufferPool: Sendable {
  private struct Shelves {
    var free: [Int: [UnsafeMutableRawPointer]] = [:]
    var bytesInUse = 0
    var bytesFree = 0
    var peakBytesInUse = 0

    /// A free buffer of this size, else a new one.
    mutating func take(_ size: Int) -> Buffer {
      use(size)
      if let pointer = free[size]?.popLast() {
        bytesFree -= size
        return Buffer(pointer: pointer, size: size)
      }
      makeRoom()
      return Buffer(pointer: .allocate(byteCount: size, alignment: 64), size: size)
    }

    private mutating func use(_ size: Int) {
      bytesInUse += size
      peakBytesInUse = max(peakBytesInUse, bytesInUse)
    }

    /// Batches of other lengths leave buffers of sizes that nobody asks for again: they go, the largest first, before
    /// everything together takes more than an eighth over what was ever in use at once.
    private mutating func makeRoom() {
      let limit = peakBytesInUse + peakBytesInUse / 8 + (16 << 20)
      for size in free.keys.sorted(by: >) {
        while bytesInUse + bytesFree > limit, let pointer = free[size]?.popLast() {
          pointer.deallocate()
          bytesFree -= size
        }
      }
    }

    mutating func put(_ buffer: Buffer) {
      bytesInUse -= buffer.size
      bytesFree += buffer.size
      free[buffer.size, default: []].append(buffer.pointer)
    }
  }
  // The pointers on the shelves belong to nobody else, so moving them between threads is safe.
  private struct Contents: @unchecked Sendable { var shelves = Shelves() }
  private let contents = Mutex(Contents())

  /// Bytes are rounded up to one of eight sizes per power of two, so that slightly different requests share buffers.
  static func roundedSize(_ byteCount: Int) -> Int {
    let least = max(byteCount, 64)
    let step = max(64, (1 << (Int.bitWidth - 1 - least.leadingZeroBitCount)) / 8)
    return (least + step - 1) / step * step
  }

  private struct Buffer: @unchecked Sendable {
    let pointer: UnsafeMutableRawPointer
    let size: Int
  }

  /// A buffer of at least `byteCount` bytes, 64-byte aligned, its content undefined.
  func storage(byteCount: Int) -> Storage {
    let size = Self.roundedSize(byteCount)
    let buffer = contents.withLock { $0.shelves.take(size) }
    return Storage(base: buffer.pointer, byteCount: buffer.size) { [self] pointer, size in
      contents.withLock { $0.shelves.put(Buffer(pointer: pointer, size: size)) }
    }
  }

  /// Gives what nobody uses back to the system.
  func trim() {
    contents.withLock { box in
      for pointer in box.shelves.free.values.joined() { pointer.deallocate() }
      box.shelves.free = [:]
      box.shelves.bytesFree = 0
    }
  }

  /// Bytes handed out now, and the most there ever were.
  var statistics: (inUse: Int, peak: Int) {
    contents.withLock { ($0.shelves.bytesInUse, $0.shelves.peakBytesInUse) }
  }

  deinit {
    contents.withLock { box in for pointer in box.shelves.free.values.joined() { pointer.deallocate() } }
  }
}
