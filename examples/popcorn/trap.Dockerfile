FROM node:24-slim
WORKDIR /popcorn
COPY popcorn-with-trap.sh ./
CMD ["sh", "popcorn-with-trap.sh"]
