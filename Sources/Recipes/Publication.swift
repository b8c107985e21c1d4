/// Whether and where the result of a run is uploaded: transformers' `push_to_hub` and what belongs to it.
public struct Publication: Sendable, Hashable {
  /// Whether it is uploaded at all.
  public var isPublished = false
  /// The repository, as `org/name` or only `name`; `nil` for the name of the output folder.
  public var repository: String?
  /// Whether a new repository is private; `nil` for no.
  public var isPrivate: Bool?
  /// The branch; `nil` for the main branch.
  public var revision: String?

  /// Uploads nothing.
  public init() {}
}
