/// How weights are quantized to MLX's codes (`mlx.core.quantize` in its mode `affine`).
public struct AffineFormat: Sendable, Hashable, Codable {
  /// The bits of a code: 4 or 8.
  public var bits: Int
  /// The number of consecutive elements of a row that share a scale and a bias; one of `groupSizes`.
  public var groupSize: Int

  /// Creates a format; by default MLX's.
  public init(bits: Int = 4, groupSize: Int = 64) {
    precondition(bits == 4 || bits == 8, "codes have 4 or 8 bits")
    precondition(Self.groupSizes.contains(groupSize), "a group size that MLX supports")
    self.bits = bits
    self.groupSize = groupSize
  }

  /// The group sizes that MLX supports.
  public static let groupSizes = [32, 64, 128]

  /// The type of the codes.
  public var type: ElementType { bits == 4 ? .affine4 : .affine8 }
}

extension Tensor {
  /// How a tensor of MLX's codes is quantized; `nil` for all other types.
  public var affineFormat: AffineFormat? {
    guard type.isAffineCode, let scales else { return nil }
    return AffineFormat(bits: type == .affine4 ? 4 : 8, groupSize: scales.blockSize)
  }
}
