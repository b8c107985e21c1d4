/// How weights are quantized to 4 bits, as in bitsandbytes.
public struct FourBitFormat: Sendable, Hashable, Codable {
  /// `nf4` (NormalFloat, Dettmers et al. 2023, arXiv:2305.14314) or `fp4`.
  public var type: ElementType
  /// The number of consecutive elements that share a scale; one of `blockSizes`.
  public var blockSize: Int
  /// Whether the scales themselves are quantized to 8 bits.
  public var doubleQuantized: Bool

  /// Creates a format; by default QLoRA's, without double quantization.
  public init(_ type: ElementType = .nf4, blockSize: Int = 64, doubleQuantized: Bool = false) {
    self.type = type
    self.blockSize = blockSize
    self.doubleQuantized = doubleQuantized
  }

  /// The block sizes that bitsandbytes supports.
  public static let blockSizes = [32, 64, 128, 256, 512, 1024, 2048, 4096]
  /// The number of scales that share a second-level scale with double quantization.
  public static let nestedBlockSize = 256

  /// The 16 values that the codes of `nf4` or `fp4` represent, before scaling.
  public static func levels(of type: ElementType) -> [Float] {
    let backend = CPUBackend.shared
    let codes = backend.empty([16], type)
    for byte in 0..<8 { codes.pointer(UInt8.self)[byte] = UInt8(2 * byte << 4 | 2 * byte + 1) }
    let one = BlockScales(
      count: 16, blockSize: 32, absmax: backend.tensor([1], [1]), nested: nil, original: .float32)
    let values = backend.floats(Tensor(type: type, shape: [16], storage: codes.storage, scales: one))
    return values.map { $0 == 0 ? 0 : $0 }  // bitsandbytes lists FP4's negative zero without its sign
  }
}

extension Tensor {
  /// How a 4-bit tensor is quantized; `nil` for all other types.
  public var fourBitFormat: FourBitFormat? {
    scales.map { FourBitFormat(type, blockSize: $0.blockSize, doubleQuantized: $0.nested != nil) }
  }
}
