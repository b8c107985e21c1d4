import Diagnostics

/// Consecutive columns of a float32 matrix, where kernels read or write: all of it by default.
public struct Columns: Sendable {
  /// The whole matrix, `[rows, ...]`.
  public let tensor: Tensor
  /// The first column.
  public let offset: Int
  /// The number of columns.
  public let count: Int

  /// Columns `range` of `tensor`, or all.
  public init(_ tensor: Tensor, _ range: Range<Int>? = nil) {
    self.tensor = tensor
    offset = range?.lowerBound ?? 0
    count = range?.count ?? tensor.columns
    precondition(offset >= 0 && offset + count <= tensor.columns, "columns must lie in their tensor")
  }

  /// Rows of the matrix.
  public var rows: Int { tensor.rows }
}

/// The left operand of products, prepared once for all of them. `rows` by `depth`.
public struct LeftOperand: Sendable {
  /// Rows of the result.
  public let rows: Int
  /// The extent that is summed over.
  public let depth: Int
  /// Where it came from: `[rows, depth]`, or `[depth, rows]` if transposed.
  let source: Columns
  let isTransposed: Bool
  let packed: Tensor?
  /// What its products are computed in.
  let precision: Precision
}

/// What the two sides of a product are rounded to before they are multiplied. Sums are float32 in any case.
public enum Precision: Sendable {
  /// Not at all.
  case float32
  /// Bfloat16, to nearest even, where the device multiplies that faster than float32; elsewhere as `float32`.
  case bfloat16
}

/// One product in a sum of them: `left` times `right`, where `right` is `[n, depth]` (a layer's weight) or, if not
/// transposed, `[depth, n]`.
public struct ProductTerm: Sendable {
  /// `[m, depth]`
  public let left: LeftOperand
  /// In any storage format.
  public let right: Tensor
  /// Whether `right` is `[n, depth]`.
  public let transposed: Bool

  /// A term of these operands.
  public init(_ left: LeftOperand, _ right: Tensor, transposed: Bool) {
    self.left = left
    self.right = right
    self.transposed = transposed
  }
}

/// `into (+)= sum of terms`.
public struct Product: Sendable {
  /// What is summed; at least one.
  public let terms: [ProductTerm]
  /// `[m, n]`
  public let into: Columns
  /// Whether the sum is added to what is there.
  public let accumulate: Bool

  /// A product of these parts.
  public init(_ terms: [ProductTerm], into: Columns, accumulate: Bool = false) {
    self.terms = terms
    self.into = into
    self.accumulate = accumulate
  }
}

/// Which rows of a ragged batch belong together, and how their attention looks.
public struct AttentionShape: Sendable {
  /// Query heads.
  public var attentionHeads: Int
  /// Key/value heads; a divisor of `heads`.
  public var keyValueHeads: Int
  /// Elements of a head; a multiple of 8.
  public var headDim: Int
  /// How many keys a query sees, itself included; 0 for all before it.
  public var window: Int
  /// What scores are multiplied by.
  public var scale: Float

  /// A shape of these parts.
  public init(attentionHeads: Int, keyValueHeads: Int, headDim: Int, window: Int = 0, scale: Float) {
    self.attentionHeads = attentionHeads
    self.keyValueHeads = keyValueHeads
    self.headDim = headDim
    self.window = window
    self.scale = scale
  }

  /// Columns of the queries in a joined q, k, v matrix, and of keys or values.
  public var queryColumns: Int { attentionHeads * headDim }
  /// Columns of the keys, and of the values.
  public var keyColumns: Int { keyValueHeads * headDim }
}

/// The function inside a gated unit.
public enum Activation: Int, Sendable {
  /// x · sigmoid(x)
  case silu = 0
  /// GELU by its tanh form.
  case gelu = 1
}

/// What cross-entropy finds for each row.
public struct CrossEntropyRows: Sendable {
  /// −log p(target), natural logarithm; with smoothing, the cross-entropy with the smoothed target.
  public var losses: [Float]
  /// Rows whose most likely token is the target.
  public var correct: Int
  /// Sum of the distributions' entropies, in nats.
  public var entropy: Double
}

/// Everything that touches the elements of tensors. Models and trainers call these and never see a pointer, so that
/// another device needs another `Backend` and nothing else.
///
/// Activations and gradients are float32; weights are in any type. Results never depend on the number of threads.
public protocol Backend: Sendable {
  // MARK: Memory

  /// A tensor whose elements are undefined.
  func empty(_ shape: [Int], _ type: ElementType) -> Tensor
  /// Copies a host array to a float32 tensor.
  func tensor(_ values: [Float], _ shape: [Int]) -> Tensor
  /// Copies a host array to an int32 tensor.
  func tensor(_ values: [Int32]) -> Tensor
  /// The elements as a host array of float32, widened from any float or block type.
  func floats(_ tensor: Tensor) -> [Float]
  /// Fills with zeros.
  func clear(_ tensor: Tensor)
  /// Copies the bytes of a tensor to another one of the same type and size.
  func copy(_ from: Tensor, to: Tensor)
  /// A copy in `type`, from any float or block type: float32, float16 or bfloat16, rounding to nearest even, or the blocks q8_0 or q4_0 as GGML's
  /// reference makes them, for rows that are whole blocks.
  func converted(_ tensor: Tensor, to type: ElementType) -> Tensor
  /// A copy as 4-bit codes of a tensor of a float type; `nil` where an element is not finite.
  func quantized(_ tensor: Tensor, to format: FourBitFormat) -> Tensor?
  /// A copy of rows in another order, in the same type.
  func permutedRows(_ tensor: Tensor, _ order: [Int]) -> Tensor
  /// Copies rows of columns: `to[toRow + i] = from[fromRow + i]`.
  func copyRows(_ from: Columns, _ fromRow: Int, to: Columns, _ toRow: Int, count: Int)
  /// Rows of a matrix of any type, widened: `[rows.count, columns]`.
  func gatherRows(_ tensor: Tensor, _ rows: [Int32]) -> Tensor
  /// `into[rows[i]] += from[i]`.
  func scatterAddRows(_ from: Tensor, _ rows: [Int32], into: Tensor)
  /// Bytes of buffers in use, and the most that ever were.
  var memoryStatistics: (inUse: Int, peak: Int) { get }

  // MARK: Products

  /// Whether products in `Precision.bfloat16` are faster than those in float32.
  var multipliesBFloat16: Bool { get }
  /// Prepares `source`, `[rows, depth]` or transposed, as the left side of products.
  func leftOperand(_ source: Columns, transposed: Bool, precision: Precision) -> LeftOperand
  /// Computes all of them.
  func compute(_ products: [Product])

  // MARK: Layers

  /// out = x / rms(x) · (weight + offset); with a residual, x + residual is normed and returned as `sum`.
  func rmsNorm(
    _ x: Tensor, residual: Tensor?, weight: Tensor, offset: Float, epsilon: Float
  ) -> (sum: Tensor, out: Tensor, inverseRMS: Tensor)
  /// What `rmsNorm` gave for its sum `x`, by the inverse root mean squares that it found, to the same bits.
  func rmsNormed(_ x: Tensor, weight: Tensor, offset: Float, inverseRMS: Tensor) -> Tensor
  /// The gradient through a norm of `x`, added to `into`.
  func rmsNormBackward(
    _ x: Tensor, weight: Tensor, offset: Float, inverseRMS: Tensor, dOut: Tensor, into: Tensor, accumulate: Bool)
  /// Adds the gradient of a norm's weight to `into`.
  func rmsNormWeightGradient(_ x: Tensor, inverseRMS: Tensor, dOut: Tensor, into: Tensor)
  /// Norms each head of `x` in place; returns the inverse root mean squares, `[rows, heads]`.
  func headNorm(_ x: Columns, heads: Int, weight: Tensor, offset: Float, epsilon: Float) -> Tensor
  /// The gradient through `headNorm` in place in `dx`; adds the weight's gradient to `weightGradient`.
  func headNormBackward(
    _ x: Columns, heads: Int, weight: Tensor, offset: Float, inverseRMS: Tensor, dx: Columns, weightGradient: Tensor?)
  /// Rotates each head of `x` in place by the angles of its row; `cosines` and `sines` are `[rows, rotated / 2]`.
  func rotary(_ x: Columns, heads: Int, cosines: Tensor, sines: Tensor, inverse: Bool)
  /// activation(gate) · up from `[rows, 2 n]`, and its gradient.
  func gated(_ gateUp: Tensor, _ activation: Activation) -> Tensor
  func gatedBackward(_ gateUp: Tensor, dOut: Tensor, _ activation: Activation) -> Tensor
  /// y += x · scale
  func add(_ x: Tensor, scale: Float, into y: Tensor)
  /// y *= factor
  func scale(_ y: Tensor, by factor: Float)
  /// y[i] *= factors[i], row by row.
  func scaleRows(_ y: Tensor, by factors: [Float])
  /// x · scale, in a new tensor.
  func scaled(_ x: Tensor, _ scale: Float) -> Tensor
  /// Adds `bias` to every row, and adds the column sums of `dy` to `into`.
  func addBias(_ bias: Tensor, to y: Columns)
  func addColumnSums(_ dy: Columns, into: Tensor)
  /// x · mask / (1 − rate), the mask drawn from `key`; the same key draws the same mask.
  func dropout(_ x: Tensor, rate: Float, key: UInt64, into: Tensor, accumulate: Bool)

  // MARK: Attention

  /// Causal attention of each sequence on itself. q, k, v lie side by side in `qkv`; `starts` are the sequences'
  /// first rows and the end. Rows before the first of them are the beginning of every sequence. Returns the heads'
  /// outputs and, if asked, the log-sum-exp of each row and head.
  func attention(_ qkv: Tensor, starts: [Int], shape: AttentionShape, keepsStatistics: Bool) -> (
    out: Tensor, lse: Tensor?
  )
  /// The gradient of `attention` for q, k and v, side by side.
  func attentionBackward(
    _ qkv: Tensor, out: Tensor, dOut: Tensor, lse: Tensor, starts: [Int], shape: AttentionShape
  ) -> Tensor
  /// Attention of new rows of one sequence, q, k, v side by side, on `before` earlier keys and values and their own, which
  /// are added to the caches. These are `[key/value heads, capacity, head size]`.
  func cachedAttention(_ qkv: Tensor, keys: Tensor, values: Tensor, before: Int, shape: AttentionShape) -> Tensor

  // MARK: Loss

  /// Cross-entropy of each row of logits; with a gradient scale, the logits become their gradient times it.
  /// With `smoothing` above 0, that share of each target is spread over all columns (Szegedy and others 2016).
  func crossEntropy(
    _ logits: Tensor, targets: [Int32], gradientScale: Float?, softcap: Float, smoothing: Float
  ) -> CrossEntropyRows
  /// logits = cap · tanh(logits / cap), in place.
  func softcap(_ logits: Tensor, _ cap: Float)
  /// Sum of squares, in double precision.
  func sumOfSquares(_ x: Tensor) -> Double

  // MARK: Optimizers

  /// A tensor of zeros that the system may move out of memory while nobody looks at it: it lies in a file without a
  /// name in `folder`, which is gone with the tensor.
  /// - Throws: `SwiftletError` where there is no room.
  func pageable(_ shape: [Int], _ type: ElementType, in folder: String) throws(SwiftletError) -> Tensor
  /// One AdamW step.
  func adamW(_ weight: Tensor, gradient: Tensor, m: Moment, v: Moment, _ step: AdamWStep)
  /// One step of Lion.
  func lion(_ weight: Tensor, gradient: Tensor, m: Moment, _ step: LionStep)
  /// One step of gradient descent; `buffer` is its momentum, if it has any.
  func sgd(_ weight: Tensor, gradient: Tensor, buffer: Tensor?, _ step: SGDStep)
  /// Adds a gradient to Adafactor's statistics, and divides it by the root that they estimate, in place.
  func adafactor(_ gradient: Tensor, squares: FactoredSquares, _ step: AdafactorStep)
}

extension Backend {
  /// Prepares `source` as the left side of products in float32.
  public func leftOperand(_ source: Columns, transposed: Bool) -> LeftOperand {
    leftOperand(source, transposed: transposed, precision: .float32)
  }
}
