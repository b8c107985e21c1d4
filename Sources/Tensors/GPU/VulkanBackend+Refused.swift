/// Operations of features that ``VulkanBackend/features`` leaves out: models that need them are refused when they are
/// opened, so these are never called.
extension VulkanBackend {
  /// Never called.
  public func multiply(_ a: Columns, _ b: Columns, into: Columns, accumulate: Bool) { refuse() }

  /// Never called.
  public func convolution(_ x: Tensor, weight: Tensor, bias: Tensor?, taps: ConvolutionTaps) -> Tensor { refuse() }

  /// Never called.
  public func convolutionBackward(
    _ x: Tensor, weight: Tensor, taps: ConvolutionTaps, dOut: Tensor, dWeight: Tensor?, dBias: Tensor?
  ) -> Tensor {
    refuse()
  }

  /// Never called.
  public func rowDots(_ x: Tensor, _ y: Tensor) -> [Float] { refuse() }

  /// Never called.
  public func silu(_ x: Tensor) -> Tensor { refuse() }

  /// Never called.
  public func siluBackward(_ x: Tensor, dOut: Tensor) -> Tensor { refuse() }

  /// Never called.
  public func deltaGates(_ ba: Columns, aLog: Tensor, dtBias: Tensor) -> Tensor { refuse() }

  /// Never called.
  public func deltaGatesBackward(
    _ ba: Columns, aLog: Tensor, dtBias: Tensor, dGates: Tensor, into: Columns, dALog: Tensor?, dDtBias: Tensor?
  ) {
    refuse()
  }

  /// Never called.
  public func deltaRule(_ qkv: Tensor, gates: Tensor, starts: [Int], shape: DeltaShape, state: Tensor?) -> Tensor {
    refuse()
  }

  /// Never called.
  public func deltaRuleBackward(
    _ qkv: Tensor, gates: Tensor, dOut: Tensor, starts: [Int], shape: DeltaShape
  ) -> (qkv: Tensor, gates: Tensor) {
    refuse()
  }

  /// Never called.
  public func applySinks(_ sinks: Tensor, out: Tensor, lse: Tensor, shape: AttentionShape) { refuse() }

  /// Never called.
  public func addSinkGradient(
    _ sinks: Tensor, out: Tensor, lse: Tensor, dOut: Tensor, shape: AttentionShape, into: Tensor
  ) {
    refuse()
  }

  private func refuse() -> Never { preconditionFailure("a model that needs this is refused when it is opened") }
}
