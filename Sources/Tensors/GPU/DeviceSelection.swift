import Diagnostics
import Essentials

/// What to compute on, as recipes (`device`) and the command line (`--device`) spell it.
public enum DeviceSelection: Sendable, Hashable {
  /// `auto`: a GPU that is faster than the CPU, else the CPU.
  case automatic
  /// `cpu`
  case cpu
  /// `gpu`, the best there is, or `gpu:N`, the one that `swiftlet devices` lists with this number.
  case gpu(Int?)

  /// `nil` for text that is none of these.
  public init?(_ text: String) {
    switch text.lowercased() {
    case "auto": self = .automatic
    case "cpu": self = .cpu
    case "gpu": self = .gpu(nil)
    default:
      guard text.lowercased().hasPrefix("gpu:"), let number = Int(text.dropFirst(4)), number >= 0 else { return nil }
      self = .gpu(number)
    }
  }

  /// The text that stands for it.
  public var text: String {
    switch self {
    case .automatic: "auto"
    case .cpu: "cpu"
    case .gpu(let number): number.map { "gpu:\($0)" } ?? "gpu"
    }
  }

  /// What is chosen, and why, in words for a person.
  public struct Choice: Sendable {
    /// What computes.
    public let backend: any Backend
    /// As in "NVIDIA H100 (gpu:0), 80 GB".
    public let name: String
    /// As in "the only GPU"; `nil` where there was nothing to choose.
    public let reason: String?

    /// A backend that was chosen elsewhere.
    public init(backend: any Backend) {
      self.init(backend: backend, name: (backend as? VulkanBackend)?.information.summary ?? "CPU", reason: nil)
    }

    init(backend: any Backend, name: String, reason: String?) {
      self.backend = backend
      self.name = name
      self.reason = reason
    }

    /// The name and the reason, as in "CPU, 8 threads (NVIDIA T4 is slower than the CPU)".
    public var text: String { reason.map { "\(name) (\($0))" } ?? name }
  }

  /// The folder for compiled kernels in the user's cache: in `SWIFTLET_CACHE`, else `swiftlet` in `XDG_CACHE_HOME`, else
  /// `~/.cache/swiftlet`; `nil` if `SWIFTLET_CACHE` is set to nothing.
  public static func kernelCache(environment: [String: String]) -> String? {
    if let folder = environment["SWIFTLET_CACHE"] { return folder.isEmpty ? nil : folder + "/kernels" }
    let home = environment["HOME"].map { $0 + "/.cache" }
    return (environment["XDG_CACHE_HOME"].flatMap { $0.isEmpty ? nil : $0 } ?? home).map { $0 + "/swiftlet/kernels" }
  }

  /// The folder for compiled kernels in this process's environment.
  public static var kernelCache: String? { kernelCache(environment: ProcessInfo.processInfo.environment) }

  /// Opens what is selected.
  ///
  /// - Parameters:
  ///   - kernelCache: the folder where a GPU's compiled kernels are kept for the next run; `nil` to keep none.
  ///   - devices: what there is to choose from.
  /// - Throws: `SwiftletError` where a GPU is asked for that is missing or cannot be used.
  public func open(
    kernelCache: String? = Self.kernelCache, among devices: @autoclosure () -> [GPUDevice] = GPUDevice.all
  )
    throws(SwiftletError) -> Choice
  {
    switch self {
    case .cpu: return Self.processor(nil)
    case .automatic: return Self.automaticChoice(kernelCache, devices())
    case .gpu(let number):
      let all = devices()
      guard !all.isEmpty else {
        throw SwiftletError.device(
          "there is no GPU: no Vulkan driver was found; install your GPU's driver and libvulkan1, or use --device cpu")
      }
      let usable = all.filter { $0.missingFeature == nil }
      guard let device = number == nil ? Self.best(usable) ?? all.first : all.first(where: { $0.index == number })
      else {
        throw SwiftletError.device(
          "gpu:\(number ?? 0) does not exist; the devices are \(all.map { "gpu:\($0.index)" }.joined(separator: ", "))")
      }
      if let missing = device.missingFeature {
        throw SwiftletError.device("\(device.name) lacks \(missing), which the kernels need; use --device cpu")
      }
      return Choice(
        backend: try VulkanBackend(device, kernelCache: kernelCache), name: device.summary,
        reason: device.isSoftware ? "a software device: slower than the CPU, for tests" : nil)
    }
  }

  /// The devices that one of several processes on this machine may open, so that each has a GPU to itself: all of them
  /// for a single process, else one GPU, or none if `auto` finds fewer than there are processes.
  ///
  /// - Parameters:
  ///   - index: which of the processes.
  ///   - count: the number of processes on this machine.
  ///   - all: what there is to choose from.
  /// - Throws: `SwiftletError` if a GPU is asked for and there are too few.
  public func devices(
    forProcess index: Int, of count: Int, among all: @autoclosure () -> [GPUDevice] = GPUDevice.all
  ) throws(SwiftletError) -> [GPUDevice] {
    if case .cpu = self { return [] }
    guard count > 1 else { return all() }
    if case .gpu(let number?) = self {
      throw SwiftletError.device(
        "gpu:\(number) is one device, but \(count) ranks run on this host; use --device gpu, which gives each rank its "
          + "own, or one rank per host")
    }
    var usable = all().filter { $0.missingFeature == nil }
    if usable.contains(where: { !$0.isSoftware }) { usable.removeAll(where: \.isSoftware) }
    guard usable.count < count else { return [usable[index]] }
    if self == .automatic { return [] }
    throw SwiftletError.device(
      "\(count) ranks run on this host, which has \(usable.count) usable GPU\(usable.count == 1 ? "" : "s"); start one rank "
        + "per GPU, or use --device cpu")
  }

  private static func processor(_ reason: String?) -> Choice {
    let threads = CPUBackend.shared.threadCount
    return Choice(
      backend: CPUBackend.shared, name: threads == 1 ? "CPU, 1 thread" : "CPU, \(threads) threads", reason: reason)
  }

  private static func automaticChoice(_ kernelCache: String?, _ devices: [GPUDevice]) -> Choice {
    // Software devices are slower than the CPU backend.
    let hardware = devices.filter { !$0.isSoftware }
    guard !hardware.isEmpty else { return processor("no GPU, only a software driver") }
    guard let device = best(hardware.filter { $0.missingFeature == nil }) else {
      return processor("\(hardware[0].name) lacks \(hardware[0].missingFeature ?? "a feature")")
    }
    do {
      let gpu = try VulkanBackend(device, kernelCache: kernelCache)
      let comparison = try ProductComparison(gpu, CPUBackend.shared)
      if !comparison.agrees { return processor("\(device.name) computes wrong results; please report its driver") }
      if comparison.speedup < 1 { return processor("\(device.name) is slower than the CPU") }
      return Choice(
        backend: gpu, name: device.summary,
        reason: "\(Int(comparison.speedup.rounded())) times as fast as the CPU")
    } catch {
      return processor("\(error)")
    }
  }

  /// A device with memory of its own before one that shares the processor's, then the one with the most memory.
  private static func best(_ devices: [GPUDevice]) -> GPUDevice? {
    devices.min { a, b in
      (a.isSoftware ? 1 : 0, a.isIntegrated ? 1 : 0, -a.memory, a.index)
        < (b.isSoftware ? 1 : 0, b.isIntegrated ? 1 : 0, -b.memory, b.index)
    }
  }
}

extension GPUDevice {
  /// As in "NVIDIA H100 (gpu:0), 80 GB".
  public var summary: String { "\(name) (gpu:\(index)), \((memory + (1 << 29)) >> 30) GB" }
}

/// A product of a layer's size on two backends: whether they agree, and how much faster the first one is.
package struct ProductComparison {
  package let agrees: Bool
  package let speedup: Double

  package init(_ first: any Backend, _ second: any Backend, rows: Int = 512, columns: Int = 1024)
    throws(SwiftletError)
  {
    let left = (0..<rows * columns).map { Float($0 % 61) / 61 - 0.5 }
    let right = (0..<columns * columns).map { Float($0 % 127) / 127 - 0.5 }
    func measure(_ backend: any Backend) throws(SwiftletError) -> (values: [Float], seconds: Double) {
      let x = backend.leftOperand(Columns(backend.tensor(left, [rows, columns])), transposed: false)
      let term = ProductTerm(x, backend.tensor(right, [columns, columns]), transposed: true)
      let out = backend.empty([rows, columns], .float32)
      // The first one compiles the kernel.
      backend.compute([Product([term], into: Columns(out))])
      try backend.finish()
      let begin = ContinuousClock.now
      for _ in 0..<2 { backend.compute([Product([term], into: Columns(out))]) }
      try backend.finish()
      let seconds = (ContinuousClock.now - begin) / .seconds(2)
      return (backend.floats(out), seconds)
    }
    let (a, b) = (try measure(first), try measure(second))
    let size = (b.values.reduce(0.0) { $0 + Double($1) * Double($1) } / Double(b.values.count)).squareRoot()
    agrees = zip(a.values, b.values).allSatisfy { Double(abs($0 - $1)) < 1e-4 * max(size, 1e-30) }
    speedup = b.seconds / max(a.seconds, 1e-9)
  }
}
