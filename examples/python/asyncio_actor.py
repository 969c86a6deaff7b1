"""An actor on an event loop: hundreds of calls wait at once, in one thread. The driver awaits references too."""

import asyncio

import shoal


@shoal.remote
class Room:
    def __init__(self, seats: int) -> None:
        self.seats = seats
        self.present: list[str] = []
        self.full = asyncio.Event()

    async def enter(self, name: str) -> str:
        self.present.append(name)
        if len(self.present) == self.seats:
            self.full.set()
        await self.full.wait()
        return f"{name} met {len(self.present) - 1} others"


async def visit(room: shoal.ActorHandle, seats: int) -> list[str]:
    return await asyncio.gather(*[room.enter.remote(f"guest {number}") for number in range(seats)])


def main() -> None:
    shoal.init()
    seats = 200
    greetings = asyncio.run(visit(Room.remote(seats), seats))
    print(greetings[0])
    print(greetings[-1])


if __name__ == "__main__":
    main()
