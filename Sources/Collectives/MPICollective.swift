import CMPI
import Diagnostics
import Essentials
import Synchronization
import Tensors

/// Communication through MPI, whose library is loaded at run time. A process creates at most one.
public final class MPICollective: Collective {
  /// This process's rank in `MPI_COMM_WORLD`.
  public let rank: Int
  /// The size of `MPI_COMM_WORLD`.
  public let size: Int
  /// This process's rank among those on its host.
  public let hostRank: Int
  /// The number of processes on this host.
  public let hostSize: Int
  /// The lowest rank on this host.
  public let host: Int

  /// MPI is initialized for serialized calls: one thread at a time.
  private let functions: Mutex<mpi_functions>

  /// Floats that are exchanged in one round: 64 MB of scratch memory, whatever the number of ranks.
  private static let roundLength = 1 << 24
  /// The most floats of a chunk in one round.
  private var pieceLength: Int { max(1, Self.roundLength / size) }

  /// Loads MPI and joins the other ranks. Call it once, before any other thread uses MPI.
  /// - Parameter environment: where `SWIFTLET_MPI` may name the bridge library.
  /// - Throws: `SwiftletError` if the bridge or MPI cannot be loaded, or if MPI finds other ranks than the launcher
  ///   says.
  public init(environment: [String: String] = ProcessInfo.processInfo.environment) throws(SwiftletError) {
    let functions = try Self.load(environment)
    var numbers: (Int32, Int32, Int32, Int32, Int32) = (0, 1, 0, 1, 0)
    let code = functions.initialize(&numbers.0, &numbers.1, &numbers.2, &numbers.3, &numbers.4)
    guard code == 0 else { throw Self.failure(code, functions, "MPI could not start") }
    rank = Int(numbers.0)
    size = Int(numbers.1)
    hostRank = Int(numbers.2)
    hostSize = Int(numbers.3)
    host = Int(numbers.4)
    self.functions = Mutex(functions)
    if let launch = LaunchEnvironment(environment), launch.size != size {
      throw .training(
        "\(launch.launcher) started \(launch.size) ranks, but MPI finds \(size); use the launcher of the MPI that "
          + "`make mpi` found, and with Slurm `srun --mpi=pmix`")
    }
  }

  /// Leaves MPI. Every rank must call it before it exits, and may not communicate afterwards.
  public func finalize() { functions.withLock { _ = $0.finalize() } }

  /// Exchanges pieces with all other ranks (`MPI_Alltoallv`) and adds them in rank order. The own piece stays where it is.
  public func reduceScatter(_ buffer: Tensor, chunks: ChunkLayout) throws(SwiftletError) {
    let backend = CPUBackend.shared
    let values = buffer.floatPointer
    let received = backend.empty([min(pieceLength, chunks.ranges[rank].count) * (size - 1)], .float32)
    for offset in stride(from: 0, to: chunks.largestChunk, by: pieceLength) {
      let pieces = chunks.pieces(from: offset, length: pieceLength)
      let own = pieces.ranges[rank]
      var (counts, starts) = pieces.mpiArguments
      counts[rank] = 0
      var ownCounts = [Int32](repeating: Int32(own.count), count: size)
      ownCounts[rank] = 0
      let ownStarts = (0..<size).map { Int32(($0 < rank ? $0 : $0 - 1) * own.count) }
      try check(
        functions.withLock { $0.exchange(values, counts, starts, received.floatPointer, ownCounts, ownStarts) })
      func piece(_ index: Int) -> Tensor { received.elements(index * own.count..<(index + 1) * own.count) }
      // (p0 + p1 + ...) + own equals own + (p0 + p1 + ...), so the pieces of lower ranks are summed first.
      let sum = buffer.elements(own)
      for lower in stride(from: 1, to: rank, by: 1) { backend.add(piece(lower), scale: 1, into: piece(0)) }
      if rank > 0 { backend.add(piece(0), scale: 1, into: sum) }
      for higher in rank..<size - 1 { backend.add(piece(higher), scale: 1, into: sum) }
    }
  }

  /// Collects every rank's chunk in place.
  public func allGather(_ buffer: Tensor, chunks: ChunkLayout) throws(SwiftletError) {
    let values = buffer.floatPointer
    for offset in stride(from: 0, to: chunks.largestChunk, by: pieceLength) {
      let (counts, starts) = chunks.pieces(from: offset, length: pieceLength).mpiArguments
      try check(functions.withLock { $0.collect(values, counts, starts) })
    }
  }

  /// Sends the length, then the bytes.
  public func broadcast(_ bytes: [UInt8], from root: Int) throws(SwiftletError) -> [UInt8] {
    var length = UInt64(bytes.count)
    try check(functions.withLock { $0.broadcast(&length, 8, Int32(root)) })
    var result = rank == root ? bytes : [UInt8](repeating: 0, count: Int(length))
    try check(functions.withLock { $0.broadcast(&result, Int64(length), Int32(root)) })
    return result
  }

  /// Sends the bytes in pieces that MPI's counts can express.
  public func broadcast(_ tensor: Tensor, from root: Int) throws(SwiftletError) {
    let start = tensor.storage.base + tensor.byteOffset
    for offset in stride(from: 0, to: tensor.byteCount, by: 1 << 28) {
      let count = Int64(min(1 << 28, tensor.byteCount - offset))
      try check(functions.withLock { $0.broadcast(start + offset, count, Int32(root)) })
    }
  }

  /// Sends the bytes in pieces that MPI's counts can express.
  public func copy(_ tensor: Tensor, from source: Int, to destination: Int) throws(SwiftletError) {
    guard source != destination, rank == source || rank == destination else { return }
    let start = tensor.storage.base + tensor.byteOffset
    for offset in stride(from: 0, to: tensor.byteCount, by: 1 << 28) {
      let count = Int64(min(1 << 28, tensor.byteCount - offset))
      try check(
        functions.withLock {
          rank == source
            ? $0.send(start + offset, count, Int32(destination)) : $0.receive(start + offset, count, Int32(source))
        })
    }
  }

  /// Gathers the bytes of all ranks on every rank.
  public func gather(_ bytes: [UInt8]) throws(SwiftletError) -> [[UInt8]] {
    var all = [UInt8](repeating: 0, count: bytes.count * size)
    try check(functions.withLock { $0.all_gather(bytes, Int64(bytes.count), &all) })
    return (0..<size).map { Array(all[$0 * bytes.count..<($0 + 1) * bytes.count]) }
  }

  /// Waits in `MPI_Barrier` until all ranks have reached it.
  public func barrier() throws(SwiftletError) { try check(functions.withLock { $0.barrier() }) }

  /// Ends all processes through `MPI_Abort`.
  public func abort(status: Int32) { functions.withLock { $0.abort(status) } }
}

extension MPICollective {
  /// The paths at which to look for the bridge: `SWIFTLET_MPI` if it is set, otherwise next to the program, where
  /// `make mpi` and `make install` put it.
  private static func candidates(_ environment: [String: String]) -> [String] {
    if let path = environment["SWIFTLET_MPI"], !path.isEmpty { return [path] }
    let program = URL(fileURLWithPath: ProgramFile.path ?? CommandLine.arguments[0])
      .resolvingSymlinksInPath()
    let folder = program.deletingLastPathComponent()
    return [
      "libswiftlet_mpi.so", "../libswiftlet_mpi.so", "../../libswiftlet_mpi.so", "../lib/swiftlet/libswiftlet_mpi.so",
    ]
    .map { folder.appendingPathComponent($0).standardizedFileURL.path }
  }

  private static func load(_ environment: [String: String]) throws(SwiftletError) -> mpi_functions {
    let paths = candidates(environment)
    guard let path = paths.first(where: FileManager.default.fileExists(atPath:)) else {
      throw .training(
        "this process was started as one of several ranks, but the MPI bridge libswiftlet_mpi.so is missing; build it with "
          + "`make mpi` (it needs Open MPI or MPICH), or set SWIFTLET_MPI to its path")
    }
    var functions = mpi_functions()
    var reason = [CChar](repeating: 0, count: 1024)
    switch mpi_load(path, &functions, &reason, Int32(reason.count)) {
    case 0: return functions
    case 1: throw .training("\(path) cannot be loaded: \(text(reason)); check that MPI is installed on this host")
    default: throw .training("\(path) is not the right MPI bridge: \(text(reason)); run `make mpi` again")
    }
  }

  private static func text(_ buffer: [CChar]) -> String {
    String(decoding: buffer.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
  }

  private static func failure(_ code: Int32, _ functions: mpi_functions, _ what: String) -> SwiftletError {
    var buffer = [CChar](repeating: 0, count: 512)
    functions.describe(code, &buffer, Int32(buffer.count))
    return .training("\(what): \(text(buffer))")
  }

  private func check(_ code: Int32) throws(SwiftletError) {
    guard code != 0 else { return }
    throw Self.failure(code, functions.withLock { $0 }, "communication among the ranks failed")
  }
}

extension ChunkLayout {
  /// Counts and displacements as MPI takes them.
  fileprivate var mpiArguments: (counts: [Int32], starts: [Int32]) {
    (ranges.map { Int32($0.count) }, ranges.map { Int32($0.lowerBound) })
  }
}

extension Tensor {
  /// The elements of a float32 tensor.
  fileprivate var floatPointer: UnsafeMutablePointer<Float> {
    precondition(type == .float32, "only float32 tensors are exchanged")
    return (storage.base + byteOffset).assumingMemoryBound(to: Float.self)
  }
}
