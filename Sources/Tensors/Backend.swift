import Diagnostics

/// Consecutive columns of a float32 matrix, by default all of them, for kernels to read or write.
public struct Columns {
  /// The whole matrix, `[rows, ...]`.
  public let tensor: Tensor
  /// The index of the first selected column in `tensor`.
  public let offset: Int
  /// The number of selected columns.
  public let count: Int

  /// Selects the columns `range` of `tensor`, or all.
  public init(_ tensor: Tensor, _ range: Range<Int>? = nil) {
    self.tensor = tensor
    offset = range?.lowerBound ?? 0
    count = range?.count ?? tensor.columns
    precondition(offset >= 0 && offset + count <= tensor.columns, "the columns must be in the tensor")
  }

  /// The number of rows, which is that of the whole matrix.
  public var rows: Int { tensor.rows }

  /// The same columns of these rows.
  func rows(_ range: Range<Int>) -> Columns { Columns(tensor.rows(range), offset..<offset + count) }
}

/// The left operand of products, `[rows, depth]`, packed once for all of them.
public struct LeftOperand {
  /// The number of rows of the result.
  public let rows: Int
  /// The size of the dimension that products sum over.
  public let depth: Int
  /// The unpacked operand: `[rows, depth]`, or `[depth, rows]` if transposed.
  let source: Columns
  let isTransposed: Bool
  var packed: Tensor?
  /// The precision of its products.
  let precision: Precision
  /// Of rows in groups, the operand of each group that has rows, on a backend that takes one after the other.
  var parts: [LeftOperand] = []
}

/// The type that the operands of a product are rounded to. Sums are always float32.
public enum Precision: Sendable {
  /// Operands keep their float32 values.
  case float32
  /// 16 bits, if the device multiplies them faster than float32; otherwise the same as `float32`. A processor rounds to
  /// bfloat16, to nearest even; the matrix units of a GPU take float16, with a power of two for each row.
  case bfloat16
}

/// One term of a sum of matrix products: `left` `[m, depth]` times `right`, which is `[n, depth]` (such as a layer's
/// weight) if transposed, else `[depth, n]`.
public struct ProductTerm {
  /// The left operand, `[m, depth]`.
  public let left: LeftOperand
  /// The right operand of each group of rows, in any float or block type; it is dequantized while the product is computed.
  /// Without groups it is that of group 0.
  let rights: (Int) -> Tensor
  /// Whether the right operand is `[n, depth]` instead of `[depth, n]`.
  public let transposed: Bool

  /// Creates a term; the depths of both operands must be equal.
  public init(_ left: LeftOperand, _ right: Tensor, transposed: Bool) {
    self.init(left, rights: { _ in right }, transposed: transposed)
  }

  /// Creates a term of a product of rows in groups, each of which has a right operand of the same shape.
  package init(_ left: LeftOperand, rights: @escaping (Int) -> Tensor, transposed: Bool) {
    self.left = left
    self.rights = rights
    self.transposed = transposed
  }

  /// The right operand, or that of the first group.
  var right: Tensor { rights(0) }
}

/// A sum of matrix products, stored in or added to `into`.
public struct Product {
  /// The terms, at least one.
  public let terms: [ProductTerm]
  /// Receives the sum, `[m, n]`. If there is one for each group of rows, that of the first.
  public let into: Columns
  /// Whether to add the sum to `into` instead of overwriting it.
  public let accumulate: Bool
  /// What groups divide; `nil` without groups.
  let division: Division?

  enum Division {
    /// The rows of the left operands and of `into`: each group has right operands of its own.
    case rows(RowGroups)
    /// The rows of both operands, which the products sum over: each group has a target of its own.
    case depth(RowGroups, [Target])
  }

  /// A matrix for a sum, and whether to add the sum to it.
  package typealias Target = (into: Columns, accumulate: Bool)

  /// Creates a sum of products; the shapes of all terms must be those of `into`.
  public init(_ terms: [ProductTerm], into: Columns, accumulate: Bool = false) {
    self.init(terms, into: into, accumulate: accumulate, groups: nil)
  }

  /// The same for rows in groups: the right operands of the terms are those of each row's group.
  package init(_ terms: [ProductTerm], into: Columns, accumulate: Bool = false, groups: RowGroups?) {
    self.terms = terms
    self.into = into
    self.accumulate = accumulate
    division = groups.map { .rows($0) }
  }

  /// For each group the sum over its rows of transposed left operands times right operands, which are float32: the gradients
  /// of matrices that these rows were multiplied by. Sums of groups without rows are zero.
  package init(_ terms: [ProductTerm], into targets: [Target], groups: RowGroups) {
    precondition(targets.count == groups.count && !targets.isEmpty, "there must be a target for each group")
    self.terms = terms
    (into, accumulate) = targets[0]
    division = .depth(groups, targets)
  }
}

/// The sizes and parameters of causal attention with grouped queries.
public struct AttentionShape: Sendable {
  /// The number of query heads.
  public var attentionHeads: Int
  /// The number of key/value heads, a divisor of `attentionHeads`.
  public var keyValueHeads: Int
  /// The number of elements in a head.
  public var headDim: Int
  /// The sliding window: how many keys a query sees, including its own. 0 for all.
  public var window: Int
  /// The factor for q · k before the softmax, usually 1/√headDim.
  public var scale: Float
  /// If positive, scores are softcap · tanh(score / softcap).
  public var softcap: Float

  /// Creates a shape.
  public init(
    attentionHeads: Int, keyValueHeads: Int, headDim: Int, window: Int = 0, scale: Float, softcap: Float = 0
  ) {
    self.attentionHeads = attentionHeads
    self.keyValueHeads = keyValueHeads
    self.headDim = headDim
    self.window = window
    self.scale = scale
    self.softcap = softcap
  }

  /// The number of query heads that share a key/value head.
  public var groupSize: Int { attentionHeads / keyValueHeads }
  /// The head dim of KV caches: rounded up to a multiple of 8, which the kernels need.
  public var paddedHeadDim: Int { (headDim + 7) / 8 * 8 }
  /// The number of query columns in a joined q, k, v matrix.
  public var queryColumns: Int { attentionHeads * headDim }
  /// The number of key columns, which is also that of the value columns.
  public var keyColumns: Int { keyValueHeads * headDim }
}

/// The new rows of a sequence among those of several, and the caches of its keys and values.
public struct CachedKeys {
  /// Its rows.
  public let rows: Range<Int>
  /// The caches, `[key/value heads, capacity, padded head dim]`.
  public let keys, values: Tensor
  /// The number of cached tokens.
  public let before: Int

  /// Creates a description of a sequence.
  public init(rows: Range<Int>, keys: Tensor, values: Tensor, before: Int) {
    (self.rows, self.keys, self.values, self.before) = (rows, keys, values, before)
  }
}

/// The activation of a gated MLP.
public enum Activation: String, Sendable, Hashable, Codable {
  /// SiLU: x · sigmoid(x).
  case silu
  /// GELU (Hendrycks and Gimpel 2016, arXiv:1606.08415) in its tanh approximation, transformers' `gelu_pytorch_tanh`.
  case gelu
  /// sigmoid(x), for the output gate of attention.
  case sigmoid
  /// gpt-oss's SwiGLU: g · sigmoid(1.702 g) · (u + 1), where g is the gate, at most 7, and u is up, between −7 and 7. Gate and
  /// up alternate in a row, instead of lying side by side.
  case clampedSwiGLU
  /// The same with gate and up side by side.
  case clampedSwiGLUOfHalves

  /// The kernels' number of the activation (`ck_gated`).
  var kernelCode: Int32 {
    switch self {
    case .silu: 0
    case .gelu: 1
    case .sigmoid: 2
    case .clampedSwiGLU: 3
    case .clampedSwiGLUOfHalves: 4
    }
  }
}

/// The sizes of linear attention by the gated delta rule.
public struct DeltaShape: Sendable, Hashable, Codable {
  /// The number of query heads, which is also that of key heads.
  public var keyHeads: Int
  /// The number of value heads, a multiple of `keyHeads`.
  public var valueHeads: Int
  /// The number of elements in a query or key head.
  public var keyDim: Int
  /// The number of elements in a value head, a multiple of 8.
  public var valueDim: Int

  /// Creates a shape.
  public init(keyHeads: Int, valueHeads: Int, keyDim: Int, valueDim: Int) {
    self.keyHeads = keyHeads
    self.valueHeads = valueHeads
    self.keyDim = keyDim
    self.valueDim = valueDim
  }

  /// The largest key dim: a GPU has columns of a state in its shared memory.
  public static let largestKeyDim = 4096

  /// The columns of all query heads, or of all key heads.
  public var keyColumns: Int { keyHeads * keyDim }
  /// The columns of all value heads.
  public var valueColumns: Int { valueHeads * valueDim }
  /// The columns of queries, keys and values together.
  public var columns: Int { 2 * keyColumns + valueColumns }
}

/// The operations that touch the elements of tensors. Models and trainers call these and never see a pointer, so a new
/// device needs only a new `Backend`. A device may lag behind: operations return once they are requested, and only
/// `floats`, `sumOfSquares`, `finish` and `Tensor.withBytes` wait for it.
///
/// Activations and gradients are float32; weights can have any type. Results don't depend on the number of threads.
public protocol Backend: Sendable {
  // MARK: Memory

  /// Allocates a tensor with undefined elements.
  func empty(_ shape: [Int], _ type: ElementType) -> Tensor
  /// Copies a host array to a float32 tensor.
  func tensor(_ values: [Float], _ shape: [Int]) -> Tensor
  /// Copies a host array to an int32 tensor.
  func tensor(_ values: [Int32]) -> Tensor
  /// Returns the tensor where this backend computes: itself, or a copy on the device in the same type. Models pass each
  /// weight through this once. Other operands in host memory are copied each time they are used.
  func resident(_ tensor: Tensor) -> Tensor
  /// Copies the elements of each tensor to a host array, converted to float32, with one wait for the device.
  func floats(_ tensors: [Tensor]) -> [[Float]]
  /// Fills a tensor with zeros.
  func clear(_ tensor: Tensor)
  /// Copies the bytes of a tensor to another of the same type and size.
  func copy(_ from: Tensor, to: Tensor)
  /// Converts or dequantizes a tensor to float32, float16 or bfloat16 (rounding to nearest even), or quantizes it to
  /// q8_0, q4_0, q5_0, q4_K or q6_K as GGML's reference does, if rows are whole blocks. Always copies.
  func converted(_ tensor: Tensor, to type: ElementType) -> Tensor
  /// Quantizes a tensor of a float type to 4 bits; `nil` if an element isn't finite.
  func quantized(_ tensor: Tensor, to format: FourBitFormat) -> Tensor?
  /// Quantizes a tensor to MLX's codes, with scales and biases of `scaleType`; `nil` if an element isn't finite. Rows must be
  /// whole groups. The result is in host memory.
  func quantized(_ tensor: Tensor, to format: AffineFormat, scaleType: ElementType) -> Tensor?
  /// Copies rows in another order, keeping the type.
  func permutedRows(_ tensor: Tensor, _ order: [Int]) -> Tensor
  /// Copies rows of columns: `to[toRow + i] = from[fromRow + i]`.
  func copyRows(_ from: Columns, _ fromRow: Int, to: Columns, _ toRow: Int, count: Int)
  /// Copies rows of a matrix, converted to float32: `[rows.count, columns]`.
  func gatherRows(_ tensor: Tensor, _ rows: [Int32]) -> Tensor
  /// `into[rows[i]] += from[i]`.
  func scatterAddRows(_ from: Tensor, _ rows: [Int32], into: Tensor)
  /// The bytes of buffers in use, and their peak.
  var memoryStatistics: (inUse: Int, peak: Int) { get }
  /// The bytes left in the device's own memory; `nil` for a backend that computes in host memory.
  var availableMemory: Int? { get }
  /// Waits until all requested work is done.
  /// - Throws: `SwiftletError` if the device has failed.
  func finish() throws(SwiftletError)
  /// Throws if the device has failed, because it ran out of memory or was lost. What it has computed since is invalid,
  /// and what is read from it is zero.
  func check() throws(SwiftletError)

  // MARK: Products

  /// Whether products in `Precision.bfloat16` are faster than in float32.
  var multipliesBFloat16: Bool { get }
  /// Prepares `source`, `[rows, depth]` or its transpose, as the left operand of products.
  /// - Parameter groups: the groups of the rows of `source`, if those of the products have some.
  func leftOperand(_ source: Columns, transposed: Bool, precision: Precision, groups: RowGroups?) -> LeftOperand
  /// Whether `leftOperand` may copy a matrix with so many columns.
  func copiesLeftOperand(columns: Int) -> Bool
  /// Computes several products, which must not depend on each other. Right operands of groups without rows are not read.
  func compute(_ products: [Product])

  // MARK: Layers

  /// RMS norm: out = sum / rms(sum) · (weight + offset), where sum = x + residual.
  func rmsNorm(
    _ x: Tensor, residual: Tensor?, weight: Tensor, offset: Float, epsilon: Float
  ) -> (sum: Tensor, out: Tensor, inverseRMS: Tensor)
  /// Recomputes `out` of `rmsNorm`, with the same bits, from its `sum` and `inverseRMS`.
  func recomputedRMSNorm(_ x: Tensor, weight: Tensor, offset: Float, inverseRMS: Tensor) -> Tensor
  /// Stores the gradient of an RMS norm's input `x` in `into`, or adds it.
  func rmsNormBackward(
    _ x: Tensor, weight: Tensor, offset: Float, inverseRMS: Tensor, dOut: Tensor, into: Tensor, accumulate: Bool)
  /// Adds the gradient of an RMS norm's weight to `into`.
  func rmsNormWeightGradient(_ x: Tensor, inverseRMS: Tensor, dOut: Tensor, into: Tensor)
  /// Applies an RMS norm to each head of `x` in place; returns the inverse root mean squares, `[rows, heads]`.
  func headNorm(_ x: Columns, heads: Int, weight: Tensor, offset: Float, epsilon: Float) -> Tensor
  /// Replaces the gradient `dx` of the output of `headNorm` by that of its input `x`; adds the weight's gradient to
  /// `weightGradient`.
  func headNormBackward(
    _ x: Columns, heads: Int, weight: Tensor, offset: Float, inverseRMS: Tensor, dx: Columns, weightGradient: Tensor?)
  /// Rotates the pairs (i, i + d/2) of each head of `x` in place; `cosines` and `sines` are `[rows, rotaryDim / 2]`.
  func rotary(_ x: Columns, heads: Int, cosines: Tensor, sines: Tensor, inverse: Bool)
  /// activation(gate) · up: `[rows, 2 n]`, gate and up side by side, to `[rows, n]`.
  func gatedActivation(_ gateUp: Tensor, _ activation: Activation) -> Tensor
  /// The gradient of `gated` for gate and up.
  func gatedActivationBackward(_ gateUp: Tensor, dOut: Tensor, _ activation: Activation) -> Tensor
  /// Adds x · scale to `y`, element by element.
  func add(_ x: Tensor, scale: Float, into y: Tensor)
  /// Multiplies every element of `y` by `factor`, in place.
  func scale(_ y: Tensor, by factor: Float)
  /// The dot product of each row of `x` with the same row of `y`: `[rows]`.
  func rowDots(_ x: Tensor, _ y: Tensor) -> Tensor
  /// Multiplies row i of `y` by factors[i].
  func scaleRows(_ y: Tensor, by factors: Tensor)
  /// x · scale, in a new tensor.
  func scaled(_ x: Tensor, _ scale: Float) -> Tensor
  /// Adds `bias` to every row.
  func addBias(_ bias: Tensor, to y: Columns)
  /// Adds to every row the bias of its group.
  func addBias(_ biases: @escaping (Int) -> Tensor, to y: Columns, groups: RowGroups)
  /// Adds the column sums of `dy` to `into`: the gradient of a bias.
  func addColumnSums(_ dy: Columns, into: Tensor)
  /// Adds the column sums of the rows of each group to a tensor of its own.
  func addColumnSums(_ dy: Columns, into: [Tensor], groups: RowGroups)
  /// x · mask / (1 − rate). Equal keys give equal masks.
  func dropout(_ x: Tensor, rate: Float, key: UInt64, into: Tensor, accumulate: Bool)

  // MARK: Mixtures of experts

  /// Chooses experts for each token by the softmax of the router's logits, `[tokens, experts]`: the most likely, of equal
  /// ones the first.
  /// - Parameters:
  ///   - chosen: how many a token goes to.
  ///   - normalizes: whether the weights of a token add up to 1.
  func route(_ logits: Tensor, chosen: Int, normalizes: Bool) -> ExpertRouting
  /// The row of its token for each row of a routing: `[rows, columns]`.
  func tokenRows(_ x: Tensor, _ routing: ExpertRouting) -> Tensor
  /// Adds the rows of each token to its row of `into`: times their weights and in the order of experts, or without weights
  /// and in the opposite order, which is that of the backward pass.
  func addExpertRows(_ rows: Tensor, _ routing: ExpertRouting, isWeighted: Bool, into: Tensor)
  /// The gradient of the router's logits, given that of the weights of rows.
  func routingGradient(_ routing: ExpertRouting, dWeights: Tensor) -> Tensor

  // MARK: Convolution

  /// into (+)= a · b, element by element.
  func multiply(_ a: Columns, _ b: Columns, into: Columns, accumulate: Bool)
  /// Depthwise causal convolution: out[i] = bias + Σₖ weight[k] · x[taps[i, k]] for each channel.
  ///
  /// - Parameters:
  ///   - x: `[rows, channels]`.
  ///   - weight: `[channels, length]`, or with a dimension of 1 between them. The last tap is the row itself.
  ///   - bias: `[channels]`.
  func convolution(_ x: Tensor, weight: Tensor, bias: Tensor?, taps: ConvolutionTaps) -> Tensor
  /// The gradient of a convolution's input; adds those of weight and bias to `dWeight` and `dBias`.
  func convolutionBackward(
    _ x: Tensor, weight: Tensor, taps: ConvolutionTaps, dOut: Tensor, dWeight: Tensor?, dBias: Tensor?
  ) -> Tensor

  /// x · sigmoid(x)
  func silu(_ x: Tensor) -> Tensor
  /// The gradient of `silu`.
  func siluBackward(_ x: Tensor, dOut: Tensor) -> Tensor

  // MARK: Gated delta rule

  /// For each value head the logarithm of the decay, −exp(aLog) · softplus(a + dtBias), and beta, sigmoid(b):
  /// `[rows, 2 heads]`. `ba` holds b and then a of each head.
  func deltaGates(_ ba: Columns, aLog: Tensor, dtBias: Tensor) -> Tensor
  /// The gradient of `deltaGates` for `ba`, stored in `into`; adds those of `aLog` and `dtBias`.
  func deltaGatesBackward(
    _ ba: Columns, aLog: Tensor, dtBias: Tensor, dGates: Tensor, into: Columns, dALog: Tensor?, dDtBias: Tensor?)
  /// The gated delta rule (Yang et al. 2024, arXiv:2412.06464) for each sequence. `qkv` holds queries, keys and values
  /// side by side, `starts` is as in `attention`.
  ///
  /// - Parameter state: `[value heads, key dim, value dim]`. If given, there is one sequence, which continues from it, and
  ///   it is changed to the state after the last row.
  /// - Returns: `[rows, value columns]`
  func deltaRule(_ qkv: Tensor, gates: Tensor, starts: [Int], shape: DeltaShape, state: Tensor?) -> Tensor
  /// The gradient of `deltaRule` without a state, for `qkv` and `gates`.
  func deltaRuleBackward(
    _ qkv: Tensor, gates: Tensor, dOut: Tensor, starts: [Int], shape: DeltaShape
  ) -> (qkv: Tensor, gates: Tensor)
  /// The bytes that `deltaRuleBackward` needs besides its results, for sequences that each have `rows` rows.
  func deltaRuleBackwardMemory(sequences: Int, rows: Int, shape: DeltaShape) -> Int

  // MARK: Attention

  /// Causal self-attention of each sequence, with q, k and v side by side in `qkv`. `starts` are the first rows of the
  /// sequences, followed by the number of rows; rows before the first start are a prefix of every sequence. Returns the
  /// outputs `[rows, query columns]` and, on request, the log-sum-exp of the scores `[rows, heads]`.
  func attention(_ qkv: Tensor, starts: [Int], shape: AttentionShape, keepsLogSumExp: Bool) -> (
    out: Tensor, lse: Tensor?
  )
  /// The gradient of `attention` for q, k and v side by side.
  func attentionBackward(
    _ qkv: Tensor, out: Tensor, dOut: Tensor, lse: Tensor, starts: [Int], shape: AttentionShape
  ) -> Tensor
  /// Attention of the new rows of one sequence over `before` cached keys and values and their own, which are added to
  /// the caches `[key/value heads, capacity, padded head dim]`.
  /// - Parameter sinks: a logit for each head, as in `applySinks`; `nil` for none.
  func cachedAttention(
    _ qkv: Tensor, keys: Tensor, values: Tensor, before: Int, shape: AttentionShape, sinks: Tensor?
  ) -> Tensor
  /// The same for several sequences, whose rows follow one another: the results of each by itself, with equal bits.
  func cachedAttention(_ qkv: Tensor, _ sequences: [CachedKeys], shape: AttentionShape, sinks: Tensor?) -> Tensor
  /// Each head of `x`, `[rows, heads · head dim]`, times the sigmoid of its gate in `gates`, `[rows, heads]`.
  func gatedHeads(_ x: Tensor, by gates: Tensor) -> Tensor
  /// The gradient of the gates, given that of the result of `gatedHeads`.
  func headGateGradient(_ x: Tensor, by gates: Tensor, dOut: Tensor) -> Tensor
  /// Adds a logit without a value to the softmax of each head (Xiao et al. 2023, arXiv:2309.17453): changes the outputs of
  /// attention and their log-sum-exp in place. `attentionBackward` takes both as they are then.
  func applySinks(_ sinks: Tensor, out: Tensor, lse: Tensor, shape: AttentionShape)
  /// Adds the gradient of the sinks to `into`, given the outputs and the log-sum-exp after `applySinks`.
  func addSinkGradient(
    _ sinks: Tensor, out: Tensor, lse: Tensor, dOut: Tensor, shape: AttentionShape, into: Tensor)

  // MARK: Loss

  /// Cross-entropy of each row of logits. With a gradient scale, the logits are overwritten by their scaled gradient.
  ///
  /// - Parameters:
  ///   - smoothing: the share of each target that is spread over all columns (Szegedy et al. 2016, arXiv:1512.00567).
  ///   - weighsByProbability: whether each row's loss and gradient are multiplied by exp(−loss).
  ///   - result: `[rows, 4]`. Receives for each row −log p(target) in nats (or the cross-entropy with the smoothed
  ///     target), the same times its weight, 1 if the target is the most likely token or else 0, and the entropy of the
  ///     predicted distribution in nats.
  func crossEntropy(
    _ logits: Tensor, targets: [Int32], gradientScale: Float?, softcap: Float, smoothing: Float,
    weighsByProbability: Bool, into result: Tensor)
  /// The divergence of each row of logits from a teacher's: KL(teacher ‖ student) for `beta` 0, KL(student ‖ teacher)
  /// for 1, and the generalized Jensen-Shannon divergence in between (Agarwal et al. 2023, arXiv:2306.13649, equation 1).
  /// With a gradient scale, the logits are overwritten by their scaled gradient.
  ///
  /// - Parameters:
  ///   - teacher: the teacher's logits, of the same shape.
  ///   - temperature: divides the logits of both.
  ///   - softcap: if positive, the logits, but not the teacher's, are taken as softcap · tanh(logit / softcap).
  ///   - result: `[rows, 4]`, as for `crossEntropy`, with the divergence as the loss.
  func divergence(
    _ logits: Tensor, from teacher: Tensor, targets: [Int32], beta: Float, temperature: Float, gradientScale: Float?,
    softcap: Float, into result: Tensor)
  /// The mean of each row of logits, and the logarithm of the sum of the squares of its softmax: `[rows, 2]`. Logits are
  /// taken as softcap · tanh(logit / softcap) if `softcap` is positive.
  func logitStatistics(_ logits: Tensor, softcap: Float) -> Tensor
  /// logits = cap · tanh(logits / cap), in place.
  func softcap(_ logits: Tensor, _ cap: Float)
  /// The `count` largest elements of a row in descending order, the first of equals first; `nil` for a backend where
  /// reading the whole row costs no more, and if there aren't as many numbers.
  func largest(_ row: Tensor, count: Int) -> [(column: Int, value: Float)]?
  /// The sum of squares over all tensors, added in double precision, with one wait for the device.
  func sumOfSquares(_ tensors: [Tensor]) -> Double

  // MARK: Optimizers

  /// Allocates zeros in an unlinked file in `folder`, so that the system can page them out.
  /// - Throws: `SwiftletError` if there is no room.
  func pagedZeros(_ shape: [Int], _ type: ElementType, in folder: String) throws(SwiftletError) -> Tensor
  /// Takes one AdamW step: updates the moments and the weight in place.
  func adamW(_ weight: Tensor, gradient: Tensor, m: Moment, v: Moment, _ step: AdamWStep)
  /// Takes one Lion step: updates the moment and the weight in place.
  func lion(_ weight: Tensor, gradient: Tensor, m: Moment, _ step: LionStep)
  /// Takes one SGD step; `buffer` is the momentum buffer, or `nil` without momentum.
  func sgd(_ weight: Tensor, gradient: Tensor, buffer: Tensor?, _ step: SGDStep)
  /// Takes one Adafactor step: adds the squared gradient to its moving averages, divides the gradient in place by the
  /// root mean square that they estimate, and clips the result, which is the update.
  func adafactor(_ weight: Tensor, gradient: Tensor, squares: AdafactorMoment, _ step: AdafactorStep)
}

extension Backend {
  /// One sequence after the other.
  public func cachedAttention(
    _ qkv: Tensor, _ sequences: [CachedKeys], shape: AttentionShape, sinks: Tensor?
  ) -> Tensor {
    func attention(_ qkv: Tensor, _ sequence: CachedKeys) -> Tensor {
      cachedAttention(
        qkv, keys: sequence.keys, values: sequence.values, before: sequence.before, shape: shape, sinks: sinks)
    }
    if sequences.count == 1 { return attention(qkv, sequences[0]) }
    let out = empty([qkv.rows, shape.queryColumns], .float32)
    for sequence in sequences {
      let part = attention(qkv.rows(sequence.rows), sequence)
      copyRows(Columns(part), 0, to: Columns(out), sequence.rows.lowerBound, count: part.rows)
    }
    return out
  }

  /// `nil`: elements in host memory are read as they are.
  public func largest(_ row: Tensor, count: Int) -> [(column: Int, value: Float)]? { nil }

  /// Packs `source` as the left operand of products in float32.
  public func leftOperand(_ source: Columns, transposed: Bool) -> LeftOperand {
    leftOperand(source, transposed: transposed, precision: .float32)
  }

  /// Packs `source` as the left operand of products of rows without groups.
  public func leftOperand(_ source: Columns, transposed: Bool, precision: Precision) -> LeftOperand {
    leftOperand(source, transposed: transposed, precision: precision, groups: nil)
  }

  /// Multiplies row i of `y` by factors[i].
  public func scaleRows(_ y: Tensor, by factors: [Float]) {
    scaleRows(y, by: tensor(factors, [factors.count]))
  }

  /// Copies the elements to a host array, converted to float32. Waits for the device.
  public func floats(_ tensor: Tensor) -> [Float] { floats([tensor])[0] }

  /// The sum of squares, in double precision. Waits for the device.
  public func sumOfSquares(_ tensor: Tensor) -> Double { sumOfSquares([tensor]) }
}
