/// Operations of features that ``VulkanBackend/features`` leaves out: models that need them are refused when they are
/// opened, so these are never called.
extension VulkanBackend {
  /// Never called.
  public func rowDots(_ x: Tensor, _ y: Tensor) -> [Float] { refuse() }

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
