import Synchronization

/// What kernels are told about the sequences of the last batch, made once and used by every layer.
final class LastLists<Key: Equatable & Sendable, Lists: Sendable>: Sendable {
  private let last = Mutex<(key: Key, lists: Lists)?>(nil)

  /// The lists for `key`: those of the last call, if it was for the same.
  func lists(_ key: Key, make: () -> Lists) -> Lists {
    last.withLock { last in
      if let last, last.key == key { return last.lists }
      let lists = make()
      last = (key, lists)
      return lists
    }
  }
}
