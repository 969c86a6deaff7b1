"""Objects with a process of their own: state, names, and errors that tell what happened."""

import shoal


@shoal.remote
class Account:
    def __init__(self, owner: str) -> None:
        self.owner = owner
        self.balance = 0

    def deposit(self, amount: int) -> int:
        if amount <= 0:
            raise ValueError(f"{self.owner} cannot deposit {amount}")
        self.balance += amount
        return self.balance


@shoal.remote
def save(account: shoal.ActorHandle, amount: int) -> None:
    shoal.get(account.deposit.remote(amount))


def main() -> None:
    shoal.init()
    account = Account.options(name="savings").remote("Ada")
    # Calls of one caller run in the order in which they were made.
    print("balance", shoal.get([account.deposit.remote(amount) for amount in (10, 20, 30)]))
    # A handle may go anywhere; by name it is found without one.
    shoal.get([save.remote(account, 1) for _ in range(5)])
    print("balance", shoal.get(shoal.get_actor("savings").deposit.remote(35)))
    try:
        shoal.get(account.deposit.remote(-1))
    except ValueError as error:
        print("refused:", error.cause)


if __name__ == "__main__":
    main()
